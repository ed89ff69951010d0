//! Which calls does the service answer? Thin handlers: authenticate, make a session, call the query engine, convert.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::BoxStream;
use tidewater_proto::query::v1::query_server::Query;
use tidewater_proto::query::v1::{
    CancelRequest, CancelResponse, CancelState, ExplainRequest, ExplainResponse, ListQueriesRequest,
    ListQueriesResponse, QueryRequest, QueryResponse,
};
use tidewater_query::{Canceled, Interface, Session};
use tidewater_storage::Result;
use tonic::{Request, Response, Status};

use super::{answer, execute};
use crate::App;
use crate::call::Call;
use crate::status::to_status;

/// `tidewater.query.v1.Query`.
pub struct QueryService {
    app: Arc<App>,
}

impl QueryService {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    /// A session with the settings of a request. A client that keeps them sends what its own SETs came to.
    fn session(&self, call: &Call, settings: &HashMap<String, String>, keeps: bool) -> Result<Session> {
        let session = call.session(&self.app, Interface::Grpc);
        for (name, value) in settings {
            match keeps {
                true => self.app.query.restore(&session, name, value)?,
                false => self.app.query.set(&session, name, Some(value))?,
            }
        }
        Ok(if keeps { session.with_kept_settings() } else { session })
    }

    async fn run(&self, request: Request<QueryRequest>) -> Result<execute::Answer> {
        let call = Call::of(&self.app, request.metadata()).await?;
        let request = request.into_inner();
        let session = self.session(&call, &request.settings, request.keeps_settings)?;
        let running = call.limiter.query()?;
        execute::start(&self.app.query, &session, request, call.deadline, running).await
    }

    async fn explain_text(&self, request: Request<ExplainRequest>) -> Result<ExplainResponse> {
        let call = Call::of(&self.app, request.metadata()).await?;
        let ExplainRequest { sql, analyze, settings } = request.into_inner();
        let session = self.session(&call, &settings, false)?;
        let _running = call.limiter.query()?;
        let text = call.bounded(self.app.query.explain(&session, &sql, analyze)).await?;
        Ok(ExplainResponse { text })
    }

    async fn stop(&self, request: Request<CancelRequest>) -> Result<CancelResponse> {
        let call = Call::of(&self.app, request.metadata()).await?;
        let state = match self.app.query.cancel(&call.principal, &request.get_ref().query_id)? {
            Canceled::Stopped => CancelState::Stopped,
            Canceled::Already => CancelState::Already,
            Canceled::TooLate => CancelState::TooLate,
        };
        Ok(CancelResponse { state: state.into() })
    }

    async fn list(&self, request: Request<ListQueriesRequest>) -> Result<ListQueriesResponse> {
        let call = Call::of(&self.app, request.metadata()).await?;
        let queries = self.app.query.queries(&call.principal).into_iter().map(answer::query_info).collect();
        Ok(ListQueriesResponse { queries })
    }
}

#[tonic::async_trait]
impl Query for QueryService {
    type ExecuteStream = BoxStream<'static, Result<QueryResponse, Status>>;

    async fn execute(&self, request: Request<QueryRequest>) -> Result<Response<Self::ExecuteStream>, Status> {
        match self.run(request).await {
            Ok(answer) => Ok(Response::new(answer.into_stream())),
            Err(error) => Err(to_status(&error)),
        }
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        self.explain_text(request).await.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        self.stop(request).await.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn list_queries(
        &self,
        request: Request<ListQueriesRequest>,
    ) -> Result<Response<ListQueriesResponse>, Status> {
        self.list(request).await.map(Response::new).map_err(|error| to_status(&error))
    }
}
