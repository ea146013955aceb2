//! New material for secrets.

use custody::{
    change::put::Terms,
    secret::{Kind, make::Order},
};
use proto::v1;

use super::{Call, about::about, life::millis, secret::secret_id};
use crate::{api::parse, custodian::Error};

impl Call<'_> {
    pub(super) async fn rotate_secret(
        self,
        request: v1::RotateSecretRequest,
    ) -> Result<v1::Version, Error> {
        let id = secret_id(&request.group, &request.name)?;
        let kind = request.r#type.as_deref().map(Kind::from_name).transpose()?;
        let alphabet = request.alphabet.as_deref();
        let set = request.set.into_iter();
        let order = Order {
            set: set.map(|field| (field.name, field.value)).collect(),
            length: request.length,
            alphabet: alphabet.map(|text| parse("alphabet", text)).transpose()?,
        };
        let terms = Terms {
            expected: request.expected,
            is_pending: request.pending,
            overlap: request.overlap_seconds.map(millis),
            keep: request.keep,
            even_if_same: true,
            is_request: false,
        };
        let about = about(&request.description, request.labels)?;
        let manager = self.manager;
        let made = manager
            .custodian
            .rotate_secret(self.operator, id, kind, about, order, terms)
            .await?;
        manager.version(&made)
    }
}
