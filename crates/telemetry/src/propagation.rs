//! W3C trace context: from a span to text and back.

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::{MetadataMap, MetadataValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Name of the header on HTTP, gRPC and AMQP.
pub const TRACEPARENT: &str = "traceparent";

/// The current span as a `traceparent`, for rows and messages. Nothing when traces are not exported, or outside any
/// span.
pub fn current_traceparent() -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Makes `span` a child of the span that `traceparent` names. Anything malformed is left out: a trace is worth less than
/// the call it describes. Do it before the span is entered.
pub fn set_parent(span: &Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent.filter(|text| is_traceparent(text)) else {
        return;
    };
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let parent = TraceContextPropagator::new().extract(&carrier);
    // Fails only where no trace layer is installed, and then there is nothing to link.
    let _ = span.set_parent(parent);
}

/// Adds the current span to outgoing HTTP headers.
pub fn inject_headers(headers: &mut HeaderMap) {
    if let Some(value) = current_traceparent().and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(TRACEPARENT, value);
    }
}

/// Adds the current span to an outgoing gRPC request.
pub fn inject_metadata(metadata: &mut MetadataMap) {
    if let Some(value) = current_traceparent().and_then(|text| MetadataValue::try_from(text).ok()) {
        metadata.insert(TRACEPARENT, value);
    }
}

/// The `traceparent` of an incoming request, if there is exactly one well-formed.
pub fn traceparent_of(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    only.to_str().ok().filter(|text| is_traceparent(text))
}

/// True for version 00 of the W3C form: `00-` 32 hex digits `-` 16 hex digits `-` 2 hex digits, lower case, ids not zero.
pub fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, chars: usize| {
        part.len() == chars && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let not_zero = |part: &str| part.bytes().any(|byte| byte != b'0');
    let mut parts = text.split('-');
    let (Some("00"), Some(trace), Some(span), Some(flags), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    hex(trace, 32) && not_zero(trace) && hex(span, 16) && not_zero(span) && hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn malformed_traceparent_is_left_out() {
        assert!(is_traceparent(GOOD));
        for bad in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-é",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    #[test]
    fn two_traceparents_count_as_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(traceparent_of(&headers), Some(GOOD));
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(traceparent_of(&headers), None);
    }

    #[test]
    fn trace_goes_through_a_span_unchanged() {
        use opentelemetry::trace::TracerProvider;
        use tracing_subscriber::layer::SubscriberExt;

        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("work");
            set_parent(&span, Some(GOOD));
            let inside = span.in_scope(current_traceparent).unwrap_or_default();
            assert_eq!(inside[..36], GOOD[..36], "the trace id stays");
            assert_ne!(inside[36..52], GOOD[36..52], "the span id is our own");
        });
        assert_eq!(current_traceparent(), None);
    }
}
