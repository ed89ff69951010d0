//! Which server, and who are we? Where, whom to trust, and by what we prove who we are. No secret is ever an argument, which everybody
//! on the machine can read.

use std::fmt;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use tidewater_client::{ClientCertificate, ClientOptions, Credentials};

use crate::cli::Usage;

const PASSWORD_VARIABLE: &str = "TIDEWATER_PASSWORD";
const TOKEN_VARIABLE: &str = "TIDEWATER_TOKEN";

/// The server, for all verbs but demo, serve and config.
#[derive(Debug, Clone, Args)]
pub struct Remote {
    /// Address of the server, for all verbs but demo, serve and config; https://HOST:PORT for TLS
    #[arg(
        id = "server",
        long = "server",
        global = true,
        value_name = "HOST:PORT",
        env = "TIDEWATER_SERVER",
        default_value = "127.0.0.1:8815"
    )]
    pub address: String,
    /// PEM file of the certificates to trust with https:// [default: those that this machine trusts]
    #[arg(long, global = true, value_name = "FILE", env = "TIDEWATER_CA")]
    pub ca: Option<PathBuf>,
    /// PEM file of a certificate to show to the server, with --client-key (mutual TLS)
    #[arg(long, global = true, value_name = "FILE", env = "TIDEWATER_CLIENT_CERT")]
    pub client_cert: Option<PathBuf>,
    /// PEM file of the private key of --client-cert
    #[arg(long, global = true, value_name = "FILE", env = "TIDEWATER_CLIENT_KEY")]
    pub client_key: Option<PathBuf>,
    /// Log in as this user; the password is taken from TIDEWATER_PASSWORD, or asked for
    #[arg(id = "login_user", long = "user", global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// File whose first line is a token; - is standard input [default: the token in TIDEWATER_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl Remote {
    /// A server that lets in everybody.
    pub fn open(address: &str) -> Self {
        let address = address.to_owned();
        Self { address, ca: None, client_cert: None, client_key: None, user: None, token_file: None }
    }

    /// How to connect. A password that is nowhere to be found is asked for.
    pub(in crate::cli) fn options(&self) -> anyhow::Result<ClientOptions> {
        let ca_certificates_pem = self.ca.as_deref().map(|file| read("--ca", file)).transpose()?;
        let certificate = self.certificate()?;
        let credentials = self.credentials()?;
        Ok(ClientOptions { credentials, ca_certificates_pem, certificate, ..ClientOptions::default() })
    }

    fn certificate(&self) -> anyhow::Result<Option<ClientCertificate>> {
        match (&self.client_cert, &self.client_key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some(ClientCertificate {
                certificates_pem: read("--client-cert", cert)?,
                key_pem: read("--client-key", key)?,
            })),
            _ => Err(Usage("--client-cert and --client-key belong together: name both files".to_owned()).into()),
        }
    }

    fn credentials(&self) -> anyhow::Result<Credentials> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        match (&self.token_file, &self.user) {
            (Some(_), Some(_)) => {
                Err(Usage("--user and --token-file are two ways to log in: use one".to_owned()).into())
            }
            (Some(file), None) => {
                let token = first_line(file).with_context(|| format!("--token-file {}", file.display()))?;
                ensure!(!token.is_empty(), "--token-file {} has no token in its first line", file.display());
                Ok(Credentials::Bearer(token))
            }
            (None, Some(user)) => {
                let password = variable(PASSWORD_VARIABLE).map_or_else(|| ask(user), Ok)?;
                Ok(Credentials::Basic { user: user.clone(), password })
            }
            (None, None) => Ok(variable(TOKEN_VARIABLE).map_or(Credentials::Anonymous, Credentials::Bearer)),
        }
    }
}

fn ask(user: &str) -> anyhow::Result<String> {
    if !std::io::stderr().is_terminal() {
        let message =
            format!("there is no terminal to ask for the password of {user}: put it into {PASSWORD_VARIABLE}");
        return Err(Usage(message).into());
    }
    rpassword::prompt_password(format!("Password of {user}: ")).context("the password cannot be read from the terminal")
}

fn read(option: &str, file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("{option} {}", file.display()))
}

/// Without what ends it.
fn first_line(file: &Path) -> std::io::Result<String> {
    let mut line = String::new();
    match file == Path::new("-") {
        true => std::io::stdin().lock().read_line(&mut line)?,
        false => BufReader::new(std::fs::File::open(file)?).read_line(&mut line)?,
    };
    Ok(line.trim().to_owned())
}
