//! Requests for certificates, and the certificates that come back.

use custody::{
    change::put::Terms,
    name::VersionId,
    secret::{Kind, request::Wish},
};
use proto::v1;

use super::{Call, Manager, about::about, life::millis, secret::secret_id};
use crate::{api::parse, custodian::Error};

impl Call<'_> {
    pub(super) async fn request_certificate(
        self,
        request: v1::RequestCertificateRequest,
    ) -> Result<v1::CertificateRequest, Error> {
        let id = secret_id(&request.group, &request.name)?;
        let kind = Kind::from_name("keystore")?;
        let algorithm = request.key_algorithm.as_deref();
        let wish = Wish {
            algorithm: algorithm
                .map(|text| parse("key_algorithm", text))
                .transpose()?,
            subject: request.subject,
            names: request.names,
        };
        let terms = Terms {
            is_request: true,
            ..Terms::default()
        };
        let about = about(&request.description, request.labels)?;
        let manager = self.manager;
        let made = manager
            .custodian
            .request_certificate(self.operator, id, kind, about, wish, terms)
            .await?;
        manager.request(&made)
    }

    pub(super) async fn get_certificate_request(
        self,
        request: v1::GetCertificateRequestRequest,
    ) -> Result<v1::CertificateRequest, Error> {
        let id = secret_id(&request.group, &request.name)?;
        let (_, version) = self.manager.custodian.requested(&id)?;
        self.manager.request(&version)
    }

    pub(super) async fn certify_secret(
        self,
        request: v1::CertifySecretRequest,
    ) -> Result<v1::Version, Error> {
        let id = secret_id(&request.group, &request.name)?;
        let terms = Terms {
            expected: request.expected,
            is_pending: request.pending,
            overlap: request.overlap_seconds.map(millis),
            keep: request.keep,
            ..Terms::default()
        };
        let manager = self.manager;
        let made = manager
            .custodian
            .certify(self.operator, id, request.certificate_chain, terms)
            .await?;
        manager.version(&made)
    }
}

impl Manager {
    fn request(&self, version: &VersionId) -> Result<v1::CertificateRequest, Error> {
        let pem = self.with_secret(&version.secret, |_, secret| {
            let row = secret.version(version.number)?.row();
            row.request().map(str::to_owned)
        })?;
        Ok(v1::CertificateRequest {
            version: Some(self.version(version)?),
            pem,
        })
    }
}
