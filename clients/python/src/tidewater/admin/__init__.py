"""What is here? `tidewater.admin.v1`, the stubs of the gRPC service for users, tokens and roles."""
