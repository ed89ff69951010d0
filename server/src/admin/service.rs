//! Which calls does the service answer? Thin handlers: authenticate, do it, convert.

use std::sync::Arc;

use tidewater_proto::admin::v1::admin_server::Admin;
use tidewater_proto::admin::v1::{
    AlterUserRequest, AlterUserResponse, CreateTokenRequest, CreateTokenResponse, CreateUserRequest,
    CreateUserResponse, DropUserRequest, DropUserResponse, ListTokensRequest, ListTokensResponse, ListUsersRequest,
    ListUsersResponse, RevokeTokenRequest, RevokeTokenResponse,
};
use tidewater_storage::Result;
use tonic::{Request, Response, Status};

use super::{tokens, users};
use crate::App;
use crate::call::Call;
use crate::status::to_status;

/// `tidewater.admin.v1.Admin`.
pub struct AdminService {
    app: Arc<App>,
}

impl AdminService {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    /// Who calls, and what they ask for.
    async fn read<T>(&self, request: Request<T>) -> Result<(Call, T), Status> {
        let (metadata, _, message) = request.into_parts();
        let call = Call::of(&self.app, &metadata).await.map_err(|error| to_status(&error))?;
        Ok((call, message))
    }
}

fn answer<T>(outcome: Result<T>) -> Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(|error| to_status(&error))
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn create_user(&self, request: Request<CreateUserRequest>) -> Result<Response<CreateUserResponse>, Status> {
        let (call, request) = self.read(request).await?;
        answer(call.bounded(users::create(&self.app, &call, request)).await)
    }

    async fn alter_user(&self, request: Request<AlterUserRequest>) -> Result<Response<AlterUserResponse>, Status> {
        let (call, request) = self.read(request).await?;
        answer(call.bounded(users::alter(&self.app, &call, request)).await)
    }

    async fn drop_user(&self, request: Request<DropUserRequest>) -> Result<Response<DropUserResponse>, Status> {
        let (call, request) = self.read(request).await?;
        answer(call.bounded(users::drop(&self.app, &call, request)).await)
    }

    async fn list_users(&self, request: Request<ListUsersRequest>) -> Result<Response<ListUsersResponse>, Status> {
        let (call, _) = self.read(request).await?;
        answer(users::list(&self.app, &call))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let (call, request) = self.read(request).await?;
        answer(call.bounded(tokens::create(&self.app, &call, request)).await)
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let (call, request) = self.read(request).await?;
        answer(call.bounded(tokens::revoke(&self.app, &call, request)).await)
    }

    async fn list_tokens(&self, request: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>, Status> {
        let (call, request) = self.read(request).await?;
        answer(tokens::list(&self.app, &call, &request))
    }
}
