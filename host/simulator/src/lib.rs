//! A Bedrock Runtime that runs here, for people without an AWS account.
