//! Times are stored as `timestamptz`, whose microseconds PostgreSQL counts from the year 2000.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};
use tradepost_domain::time::Timestamp;

/// 2000-01-01 in microseconds since the Unix epoch.
const YEAR_2000: i64 = 946_684_800_000_000;
/// PostgreSQL's number of the type `timestamptz`.
const TIMESTAMPTZ: Oid = Oid(1184);
/// PostgreSQL's number of the type `timestamptz[]`.
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);

/// A [`Timestamp`] in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Time {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for Time {
    fn encode_by_ref(&self, arguments: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.as_micros().saturating_sub(YEAR_2000);
        <i64 as Encode<'_, Postgres>>::encode_by_ref(&micros, arguments)
    }
}

impl Decode<'_, Postgres> for Time {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() == PgValueFormat::Text {
            return Err("a time came as text".into());
        }
        let micros = <i64 as Decode<'_, Postgres>>::decode(value)?;
        Ok(Self(Timestamp::from_micros(micros.saturating_add(YEAR_2000))))
    }
}
