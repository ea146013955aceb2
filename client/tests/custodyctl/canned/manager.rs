//! What the operators' surface answers.

use client::v1::{self, manager_server::Manager};
use tonic::{Request, Response, Status};

use super::{
    Answered, Answers,
    answers::{self, time, version},
};

macro_rules! manager {
    ($($name:ident($this:ident, $request:pat => $type:ident) -> $answer:ident { $value:expr })*) => {
        #[tonic::async_trait]
        impl Manager for Answers {
            type ReadJournalStream = Answered<v1::ReadJournalResponse>;

            async fn read_journal(
                &self,
                request: Request<v1::ReadJournalRequest>,
            ) -> Result<Response<Self::ReadJournalStream>, Status> {
                self.note(|asked| asked.read = Some(request.into_inner()));
                let lines = self.lines.lock().unwrap().clone().into_iter();
                let lines = lines.map(|lines| Ok(v1::ReadJournalResponse { lines }));
                self.answer("read_journal", tokio_stream::iter(lines.collect::<Vec<_>>()))
            }

            type BackupStream = Answered<v1::BackupResponse>;

            async fn backup(
                &self,
                request: Request<v1::BackupRequest>,
            ) -> Result<Response<Self::BackupStream>, Status> {
                self.note(|asked| asked.backups.push(request.into_inner()));
                let steps = self.backups.lock().unwrap().pop_front().unwrap_or_default();
                let steps = steps.into_iter().map(|step| Ok(v1::BackupResponse { step: Some(step) }));
                self.answer("backup", tokio_stream::iter(steps.collect::<Vec<_>>()))
            }
        $(
            async fn $name(
                &self,
                request: Request<v1::$type>,
            ) -> Result<Response<v1::$answer>, Status> {
                let ($this, $request) = (self, request.into_inner());
                $this.answer(stringify!($name), $value)
            }
        )*}
    };
}

manager! {
    create_group(this, request => CreateGroupRequest) -> Group {{
        this.note(|asked| asked.create_group = Some(request));
        answers::group()
    }}
    list_groups(this, request => ListGroupsRequest) -> ListGroupsResponse {{
        this.note(|asked| asked.list_groups = Some(request));
        v1::ListGroupsResponse { groups: vec![answers::group()], ..Default::default() }
    }}
    get_group(this, _ => GetGroupRequest) -> Group { answers::group() }
    update_group(this, request => UpdateGroupRequest) -> Group {{
        this.note(|asked| asked.update_group = Some(request));
        answers::group()
    }}
    set_cache(this, request => SetCacheRequest) -> Group {{
        this.note(|asked| asked.cache = Some(request.clone()));
        v1::Group { cache: request.cache, ..answers::group() }
    }}
    rotate_group(this, request => RotateGroupRequest) -> Group {{
        let compromised = request.compromised;
        this.note(|asked| asked.rotate_group = Some(request));
        answers::rotated(compromised)
    }}
    compromise_master_key(this, request => CompromiseMasterKeyRequest) -> Group {{
        this.note(|asked| asked.compromise_key = Some(request));
        answers::rotated(true)
    }}
    hold_group(this, request => HoldGroupRequest) -> Group {{
        this.note(|asked| asked.hold_group = Some(request));
        answers::held()
    }}
    lose_token(this, request => LoseTokenRequest) -> LoseTokenResponse {{
        this.note(|asked| asked.lose_token = Some(request));
        v1::LoseTokenResponse {
            label: "standby".into(),
            serial: "4567".into(),
            master_keys: 2,
            wraps: 7,
            lost: vec!["web/tls@2".into()],
        }
    }}
    destroy_master_key(this, request => DestroyMasterKeyRequest) -> Group {{
        this.note(|asked| asked.destroy_key = Some(request));
        answers::rotated(false)
    }}
    spare_master_key(this, _ => SpareMasterKeyRequest) -> Group { answers::rotated(false) }
    put_secret(this, request => PutSecretRequest) -> Version {{
        let fields = request.fields.iter();
        let lengths = fields.map(|f| (f.name.clone(), f.value.len())).collect();
        *this.put.lock().unwrap() = lengths;
        this.note(|asked| {
            asked.puts.push((request.name.clone(), request.expected));
            asked.said = Some((request.description.clone(), request.labels.clone()));
        });
        version(2)
    }}
    rotate_secret(this, request => RotateSecretRequest) -> Version {{
        this.note(|asked| asked.rotate = Some(request));
        version(3)
    }}
    request_certificate(this, _ => RequestCertificateRequest) -> CertificateRequest {
        answers::request()
    }
    get_certificate_request(this, _ => GetCertificateRequestRequest) -> CertificateRequest {
        answers::request()
    }
    certify_secret(this, _ => CertifySecretRequest) -> Version { version(4) }
    list_secrets(this, request => ListSecretsRequest) -> ListSecretsResponse {{
        let secret = v1::Secret {
            found: request.text.iter().flat_map(|_| [1, 3]).collect(),
            ..this.secret()
        };
        let (of_all, from) = (*this.secrets.lock().unwrap(), request.page_token.parse().unwrap_or(0));
        let to = of_all.min(from + request.page_size);
        let secrets = (from..to).map(|_| secret.clone()).collect();
        let next_page_token = if to < of_all { to.to_string() } else { String::new() };
        this.note(|asked| asked.list_secrets = Some(request));
        v1::ListSecretsResponse { secrets, next_page_token }
    }}
    get_secret(this, _ => GetSecretRequest) -> Secret { this.secret() }
    update_secret(this, request => UpdateSecretRequest) -> Secret {{
        this.note(|asked| asked.update_secret = Some(request));
        this.secret()
    }}
    list_versions(this, _ => ListVersionsRequest) -> ListVersionsResponse {
        v1::ListVersionsResponse { versions: vec![version(1), version(2)], ..Default::default() }
    }
    activate_version(this, _ => ActivateVersionRequest) -> Secret { this.secret() }
    enable_version(this, _ => EnableVersionRequest) -> Version { version(2) }
    disable_version(this, _ => DisableVersionRequest) -> Version {
        v1::Version { state: "disabled".into(), ..version(2) }
    }
    destroy_version(this, _ => DestroyVersionRequest) -> Version {
        v1::Version { state: "doomed".into(), doom: time(), ..version(1) }
    }
    restore_version(this, _ => RestoreVersionRequest) -> Version {
        v1::Version { state: "disabled".into(), ..version(1) }
    }
    delete_secret(this, request => DeleteSecretRequest) -> DeleteSecretResponse {{
        this.note(|asked| asked.delete = Some(request));
        v1::DeleteSecretResponse { versions: 2 }
    }}
    add_grant(this, request => AddGrantRequest) -> AddGrantResponse {{
        this.note(|asked| asked.grant = Some(request.clone()));
        let weak = request.allow_weak || *this.weak.lock().unwrap();
        answers::added(request, weak)
    }}
    list_grants(this, _ => ListGrantsRequest) -> ListGrantsResponse {
        v1::ListGrantsResponse {
            grants: vec![answers::grant(), answers::other_grant()],
            ..Default::default()
        }
    }
    revoke_grant(this, _ => RevokeGrantRequest) -> RevokeGrantResponse {
        v1::RevokeGrantResponse {}
    }
    lint_grants(this, _ => LintGrantsRequest) -> LintGrantsResponse { answers::linted() }
    explain_grant(this, request => ExplainGrantRequest) -> ExplainGrantResponse {{
        this.note(|asked| asked.explain = Some(request));
        answers::explained()
    }}
    suggest_grant(this, _ => SuggestGrantRequest) -> SuggestGrantResponse {
        answers::suggested()
    }
    list_consumers(this, request => ListConsumersRequest) -> ListConsumersResponse {{
        this.note(|asked| asked.consumers = Some(request));
        answers::consumers()
    }}
    list_exposure(this, _ => ListExposureRequest) -> ListExposureResponse { answers::exposure() }
    list_references(this, _ => ListReferencesRequest) -> ListReferencesResponse {
        answers::references()
    }
    list_expiring(this, request => ListExpiringRequest) -> ListExpiringResponse {{
        this.note(|asked| asked.expiring = Some(request));
        match *this.clean.lock().unwrap() {
            true => v1::ListExpiringResponse::default(),
            false => answers::expiring(),
        }
    }}
    set_rules(this, request => SetRulesRequest) -> SetRulesResponse {{
        this.note(|asked| asked.rules = Some(request.clone()));
        let clean = *this.clean.lock().unwrap();
        let found = if clean { Vec::new() } else { answers::findings() };
        v1::SetRulesResponse { rules: request.rules, findings: found, more: 0 }
    }}
    list_findings(this, _ => ListFindingsRequest) -> ListFindingsResponse {
        match *this.clean.lock().unwrap() {
            true => v1::ListFindingsResponse::default(),
            false => v1::ListFindingsResponse { findings: answers::findings(), more: 2 },
        }
    }
    assign_role(this, request => AssignRoleRequest) -> Role {{
        this.note(|asked| asked.role = Some(request));
        answers::role()
    }}
    list_roles(this, _ => ListRolesRequest) -> ListRolesResponse {
        v1::ListRolesResponse { roles: answers::roles() }
    }
    revoke_role(this, _ => RevokeRoleRequest) -> RevokeRoleResponse {
        v1::RevokeRoleResponse {}
    }
    who_am_i(this, _ => OperatorWhoAmIRequest) -> OperatorWhoAmIResponse {
        v1::OperatorWhoAmIResponse {
            evidence: Some(answers::evidence()),
            selectors: answers::selectors(),
            roles: match *this.no_role.lock().unwrap() {
                true => Vec::new(),
                false => answers::roles(),
            },
        }
    }
    status(this, _ => StatusRequest) -> StatusResponse {
        v1::StatusResponse {
            journal: Some(this.journal.lock().unwrap().clone()),
            ..answers::status()
        }
    }
}
