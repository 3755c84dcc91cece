//! The options of items in files. A field number never changes its meaning; new options get new numbers, and a reader
//! that does not know a number refuses the item, so that no limit is ever overlooked.

use std::time::Duration;

use lictor_licensing::access::AccessModes;
use lictor_licensing::binding::Bindings;
use lictor_licensing::feature::FeatureMap;
use lictor_licensing::id::ProductCode;
use lictor_licensing::options::{
    AccessCode, BorrowRule, DataEntries, Edition, HiddenData, LingerTime, MaintenancePeriod, MinimumVersion,
    NamedUsers, Options, Quantity, Release, ReleaseVersion, SecretData, Status, Subscription, TransferRule,
    UnitCounter, UsagePeriod,
};
use lictor_licensing::text::Text;
use lictor_signing::cbor::{CborError, Reader, Writer};

const MAX_VERSION_BYTES: usize = 64;
const MAX_ACCESS_CODE_BYTES: usize = 64;

pub(super) fn write(writer: &mut Writer, options: &Options) {
    writer.record(|fields| {
        fields.option(0, options.product_code, |w, code| w.uint(u64::from(code.get())));
        fields.option(1, options.feature_map, |w, map| w.uint(u64::from(map.bits())));
        fields.option(2, options.text.as_ref(), |w, text| w.text(text.as_str()));
        fields.option(3, options.license_quantity, write_quantity);
        fields.option(4, options.activation_time, Writer::time);
        fields.option(5, options.expiration_time, Writer::time);
        fields.option(6, options.usage_period, |w, span| write_span(w, span.get()));
        fields.option(7, options.maintenance_period, write_maintenance);
        fields.option(8, options.unit_counter, |w, counter| w.uint(counter.0));
        fields.option(9, options.linger_time, |w, span| write_span(w, span.get()));
        fields.option(10, options.minimum_version.as_ref(), |w, version| w.text(&version.0.to_string()));
        fields.option(11, options.borrow, write_borrow);
        fields.option(12, options.transfer, write_transfer);
        fields.option(13, options.user_data.as_ref(), write_data);
        fields.option(14, options.customer_info.as_ref(), write_data);
        fields.option(15, options.protected_data.as_ref(), write_data);
        fields.option(16, options.hidden_data.as_ref(), |w, hidden| {
            w.array(2);
            w.text(hidden.access_code.reveal());
            write_data(w, &hidden.entries);
        });
        fields.option(17, options.secret_data.as_ref(), |w, secret| write_data(w, &secret.0));
        fields.option(18, options.named_users, |w, users| {
            w.array(2);
            w.uint(u64::from(users.max_users()));
            w.uint(u64::from(users.max_devices_per_user()));
        });
        fields.option(19, options.subscription.as_ref(), |w, subscription| {
            w.array(2);
            w.text(subscription.display_name().as_str());
            w.uint(u64::from(subscription.days()));
        });
        fields.option(20, options.bindings, |w, bindings| w.uint(u64::from(bindings.to_bits())));
        fields.option(21, options.status, |w, status| w.bool(status == Status::Enabled));
        fields.option(22, options.release, |w, release| {
            w.array(3);
            w.uint(match release.edition {
                Edition::Steady => 0,
                Edition::Progress => 1,
            });
            w.uint(u64::from(release.version.major));
            w.uint(u64::from(release.version.minor));
        });
    });
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<Options, CborError> {
    let mut fields = reader.fields()?;
    let options = Options {
        product_code: fields.optional(0, Reader::u32)?.map(ProductCode),
        feature_map: fields.optional(1, Reader::u32)?.map(FeatureMap),
        text: fields.optional(2, read_text)?,
        license_quantity: fields.optional(3, read_quantity)?,
        activation_time: fields.optional(4, Reader::time)?,
        expiration_time: fields.optional(5, Reader::time)?,
        usage_period: fields.optional(6, |r| UsagePeriod::new(read_span(r)?).map_err(|_| out_of_range()))?,
        maintenance_period: fields.optional(7, read_maintenance)?,
        unit_counter: fields.optional(8, Reader::uint)?.map(UnitCounter),
        linger_time: fields.optional(9, |r| LingerTime::new(read_span(r)?).map_err(|_| out_of_range()))?,
        minimum_version: fields
            .optional(10, |r| r.text(MAX_VERSION_BYTES)?.parse().map(MinimumVersion).map_err(|_| out_of_range()))?,
        borrow: fields.optional(11, read_borrow)?,
        transfer: fields.optional(12, read_transfer)?,
        user_data: fields.optional(13, read_data)?,
        customer_info: fields.optional(14, read_data)?,
        protected_data: fields.optional(15, read_data)?,
        hidden_data: fields.optional(16, |r| {
            parts(r, 2)?;
            let access_code = AccessCode::new(r.text(MAX_ACCESS_CODE_BYTES)?).map_err(|_| out_of_range())?;
            Ok(HiddenData { access_code, entries: read_data(r)? })
        })?,
        secret_data: fields.optional(17, read_data)?.map(SecretData),
        named_users: fields.optional(18, |r| {
            parts(r, 2)?;
            NamedUsers::new(r.u32()?, r.u32()?).map_err(|_| out_of_range())
        })?,
        subscription: fields.optional(19, |r| {
            parts(r, 2)?;
            Subscription::new(read_text(r)?, r.u32()?).map_err(|_| out_of_range())
        })?,
        bindings: fields.optional(20, |r| Bindings::from_bits(r.u32()?).ok_or_else(out_of_range))?,
        status: fields.optional(21, |r| Ok(if r.bool()? { Status::Enabled } else { Status::Disabled }))?,
        release: fields.optional(22, |r| {
            parts(r, 3)?;
            let edition = match r.uint()? {
                0 => Edition::Steady,
                1 => Edition::Progress,
                kind => return Err(CborError::UnknownKind(kind)),
            };
            Ok(Release { edition, version: ReleaseVersion { major: r.u16()?, minor: r.u16()? } })
        })?,
    };
    fields.end()?;
    Ok(options)
}

const fn out_of_range() -> CborError {
    CborError::Value("an option outside its range")
}

fn parts(reader: &mut Reader<'_>, expected: usize) -> Result<(), CborError> {
    if reader.array(expected)? == expected { Ok(()) } else { Err(CborError::Value("an option lacks a part")) }
}

fn read_text(reader: &mut Reader<'_>) -> Result<Text, CborError> {
    Text::new(reader.text(Text::MAX_BYTES)?).map_err(|_| out_of_range())
}

/// Spans are whole microseconds; every option's longest span fits by far.
fn write_span(writer: &mut Writer, span: Duration) {
    writer.uint(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
}

fn read_span(reader: &mut Reader<'_>) -> Result<Duration, CborError> {
    Ok(Duration::from_micros(reader.uint()?))
}

fn write_quantity(writer: &mut Writer, quantity: Quantity) {
    writer.record(|fields| {
        fields.field(0, |w| w.uint(u64::from(quantity.count())));
        fields.field(1, |w| w.uint(u64::from(quantity.allowed().to_bits())));
        fields.option(2, quantity.is_local_only().then_some(true), Writer::bool);
        fields.option(3, quantity.allows_wan().then_some(true), Writer::bool);
    });
}

fn read_quantity(reader: &mut Reader<'_>) -> Result<Quantity, CborError> {
    let mut fields = reader.fields()?;
    let count = fields.required(0, Reader::u32)?;
    let modes = AccessModes::from_bits(fields.required(1, Reader::u32)?).ok_or_else(out_of_range)?;
    let local_only = fields.optional(2, Reader::bool)?.unwrap_or(false);
    let wan = fields.optional(3, Reader::bool)?.unwrap_or(false);
    fields.end()?;
    let quantity = Quantity::new(count).and_then(|quantity| quantity.allowing(modes)).map_err(|_| out_of_range())?;
    match (local_only, wan) {
        (false, false) => Ok(quantity),
        (true, false) => Ok(quantity.local_only()),
        (false, true) => Ok(quantity.with_wan()),
        (true, true) => Err(out_of_range()),
    }
}

fn write_maintenance(writer: &mut Writer, period: MaintenancePeriod) {
    writer.array(3);
    writer.time(period.start());
    writer.time(period.end());
    writer.bool(period.is_required());
}

fn read_maintenance(reader: &mut Reader<'_>) -> Result<MaintenancePeriod, CborError> {
    parts(reader, 3)?;
    MaintenancePeriod::new(reader.time()?, reader.time()?, reader.bool()?).map_err(|_| out_of_range())
}

fn write_borrow(writer: &mut Writer, rule: BorrowRule) {
    writer.record(|fields| {
        fields.field(0, |w| write_span(w, rule.max_duration()));
        fields.field(1, |w| write_span(w, rule.max_ahead()));
        fields.option(2, rule.max_seats(), |w, seats| w.uint(u64::from(seats)));
    });
}

fn read_borrow(reader: &mut Reader<'_>) -> Result<BorrowRule, CborError> {
    let mut fields = reader.fields()?;
    let (duration, ahead) = (fields.required(0, read_span)?, fields.required(1, read_span)?);
    let seats = fields.optional(2, Reader::u32)?;
    fields.end()?;
    BorrowRule::new(duration, ahead, seats).map_err(|_| out_of_range())
}

fn write_transfer(writer: &mut Writer, rule: TransferRule) {
    writer.array(4);
    writer.bool(rule.may_move);
    writer.bool(rule.may_return);
    writer.bool(rule.splittable);
    writer.uint(u64::from(rule.depth));
}

fn read_transfer(reader: &mut Reader<'_>) -> Result<TransferRule, CborError> {
    parts(reader, 4)?;
    Ok(TransferRule {
        may_move: reader.bool()?,
        may_return: reader.bool()?,
        splittable: reader.bool()?,
        depth: u8::try_from(reader.uint()?).map_err(|_| out_of_range())?,
    })
}

fn write_data(writer: &mut Writer, entries: &DataEntries) {
    writer.map(entries.len());
    for (number, bytes) in entries.iter() {
        writer.uint(u64::from(number));
        writer.bytes(bytes);
    }
}

fn read_data(reader: &mut Reader<'_>) -> Result<DataEntries, CborError> {
    let mut entries = DataEntries::default();
    for _ in 0..reader.map(DataEntries::MAX_ENTRIES)? {
        let number = u8::try_from(reader.uint()?).map_err(|_| out_of_range())?;
        entries.set(number, reader.bytes(DataEntries::MAX_BYTES)?).map_err(|_| out_of_range())?;
    }
    Ok(entries)
}
