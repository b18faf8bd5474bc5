//! One request of one tenant: the gateway's header, believed once, and transactions of that tenant in one call each.
//! A handler that holds a [`TenantRequest`] has nothing in which it could forget or mix up the tenant.

use hyper::HeaderMap;
use rowhouse_domain::context::{ContextClaims, ContextError, HEADER};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};

use crate::{Access, DatabaseError, Databases, TenantContext, TenantTransaction};

/// Why a request is not believed. It is answered with 401: it did not come through the gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The header is missing, stands twice, or is no text.
    #[error("the request has {0} readable headers `rowhouse-context` instead of one")]
    NotOne(usize),
    /// Malformed, forged, for another service, or not valid now.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// This process serves another tenant only.
    #[error("the context is another tenant's than this process serves")]
    OtherTenant,
}

impl RequestError {
    /// What to tell the caller of the service. The reason stays in the refusal's private part.
    pub fn refusal(&self) -> Refusal {
        Refusal::new(&kind::NO_CREDENTIALS, "This service is reached through the gateway only.")
            .private(self.to_string())
    }
}

/// A request whose tenant is proven, and the way to that tenant's rows.
#[derive(Debug, Clone)]
pub struct TenantRequest {
    databases: Databases,
    context: TenantContext,
}

impl TenantRequest {
    pub(crate) fn believe(
        databases: &Databases,
        headers: &HeaderMap,
        now_s: i64,
    ) -> Result<Self, RequestError> {
        let readable: Vec<&str> =
            headers.get_all(HEADER).iter().filter_map(|value| value.to_str().ok()).collect();
        let all = headers.get_all(HEADER).iter().count();
        let ([header], 1) = (readable.as_slice(), all) else {
            return Err(RequestError::NotOne(readable.len()));
        };
        let context = databases.context(header, now_s)?;
        match databases.only_tenant() {
            Some(own) if own != context.tenant() => Err(RequestError::OtherTenant),
            _ => Ok(TenantRequest { databases: databases.clone(), context }),
        }
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.context.tenant()
    }

    /// All that the gateway said: principal, roles, features and so on.
    pub fn claims(&self) -> &ContextClaims {
        self.context.claims()
    }

    /// Begins a transaction of this request's tenant, to be ended by hand. [`read`](Self::read) and
    /// [`write`](Self::write) end it themselves.
    ///
    /// # Errors
    /// See [`DatabaseError`]; nothing was executed then.
    pub async fn begin(&self, access: Access) -> Result<TenantTransaction, DatabaseError> {
        self.databases.begin(&self.context, access).await
    }

    /// Runs `work` in a read-only transaction of this request's tenant.
    ///
    /// # Errors
    /// What `work` answers, and [`DatabaseError`] of the transaction itself.
    pub async fn read<T, E: From<DatabaseError>>(
        &self,
        work: impl AsyncFnOnce(&mut TenantTransaction) -> Result<T, E>,
    ) -> Result<T, E> {
        self.within(Access::Read, work).await
    }

    /// Runs `work` in a transaction of this request's tenant and commits it if `work` answers `Ok`; else it is
    /// rolled back.
    ///
    /// # Errors
    /// What `work` answers, and [`DatabaseError`] of the transaction itself.
    pub async fn write<T, E: From<DatabaseError>>(
        &self,
        work: impl AsyncFnOnce(&mut TenantTransaction) -> Result<T, E>,
    ) -> Result<T, E> {
        self.within(Access::Write, work).await
    }

    async fn within<T, E: From<DatabaseError>>(
        &self,
        access: Access,
        work: impl AsyncFnOnce(&mut TenantTransaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut transaction = self.begin(access).await?;
        match work(&mut transaction).await {
            Ok(answer) => {
                transaction.commit().await?;
                Ok(answer)
            }
            Err(refused) => {
                // What went wrong is already on its way to the caller; a connection that is lost undoes as well.
                let _ = transaction.rollback().await;
                Err(refused)
            }
        }
    }
}
