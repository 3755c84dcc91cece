//! Signed statements of the time, for licence servers whose clock is not believed.

use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::FirmCode,
};
use lictor_signing::{Envelope, Role, TimeStatement};

use super::Issuer;
use crate::{failure::Failure, problem};

impl Issuer {
    /// The time, signed for whoever made the nonce.
    ///
    /// # Errors
    /// When the nonce has a wrong size, the firm was never made here, or its key store does not sign.
    pub async fn sign_time(&self, firm: FirmCode, nonce: &[u8]) -> Result<Vec<u8>, Failure> {
        let statement = TimeStatement::new(firm.get(), nonce, self.clock.now()).map_err(|error| {
            Failure::Refused(Problem::new(
                ErrorCode::InvalidArgument,
                error.to_string(),
                "let the licence server make the nonce",
            ))
        })?;
        let root = self.root(firm).await?;
        let signers = self.signers(firm, Role::Time, self.clock.now()).await?;
        let envelope = tokio::task::spawn_blocking(move || Envelope::seal(&statement, &signers.refs()))
            .await
            .map_err(|error| Failure::Refused(problem::internal("the signing of the time", &error)))??;
        if root.open::<TimeStatement>(&envelope).is_err() {
            let root = self.load_root(firm).await?;
            root.open::<TimeStatement>(&envelope)
                .map_err(|error| Failure::Refused(problem::internal("the signature of a time statement", &error)))?;
        }
        Ok(envelope.to_bytes())
    }
}
