//! The layers below AMQP: protocol headers and SASL.

use bytes::{Buf, BytesMut};
use fe2o3_amqp_types::sasl::{SaslCode, SaslInit, SaslMechanisms, SaslOutcome};
use serde_amqp::primitives::{Array, Symbol};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::engine::MAX_FRAME_SIZE;
use crate::bus::wire::Malformed;
use crate::bus::wire::frame::{self, Frame};

const SASL_HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";
const AMQP_HEADER: [u8; 8] = *b"AMQP\x00\x01\x00\x00";
/// What the service offers: .NET takes MSSBCBS, the others ANONYMOUS; both mean "see `$cbs`".
const MECHANISMS: [&str; 4] = ["MSSBCBS", "ANONYMOUS", "PLAIN", "EXTERNAL"];

/// Why a peer did not get as far as AMQP.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("the peer went away")]
    Gone,
    #[error("the peer speaks another protocol")]
    OtherProtocol,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Brings a fresh connection to where AMQP frames begin. Whatever the peer sent ahead of our
/// answers stays in `input`.
///
/// # Errors
/// When the peer goes away, or speaks something else.
pub(super) async fn handshake<S>(stream: &mut S, input: &mut BytesMut) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while input.len() < AMQP_HEADER.len() {
        read(stream, input).await?;
    }
    if input[..AMQP_HEADER.len()] == AMQP_HEADER {
        // Without SASL: so comes the JavaScript SDK where there is no key name, that is with
        // Entra tokens and with a connection string that holds a signature.
        input.advance(AMQP_HEADER.len());
        stream.write_all(&AMQP_HEADER).await?;
        return Ok(());
    }
    expect_header(stream, input, SASL_HEADER).await?;
    let mut out = BytesMut::from(&SASL_HEADER[..]);
    let mechanisms: Vec<Symbol> = MECHANISMS.into_iter().map(Symbol::from).collect();
    let offer = SaslMechanisms {
        sasl_server_mechanisms: Array::from(mechanisms),
    };
    frame::put_sasl(&mut out, &offer)?;
    stream.write_all(&out).await?;

    let init = loop {
        match frame::take(input, MAX_FRAME_SIZE as usize)? {
            Some(Frame::Sasl(body)) => break body,
            Some(_) => return Err(HandshakeError::OtherProtocol),
            None => read(stream, input).await?,
        }
    };
    let init: SaslInit = serde_amqp::from_slice(&init).map_err(Malformed::from)?;
    tracing::trace!(
        mechanism = init.mechanism.as_str(),
        "A client authenticates"
    );
    let mut out = BytesMut::new();
    // Whoever it is: tokens are put to `$cbs` later.
    frame::put_sasl(
        &mut out,
        &SaslOutcome {
            code: SaslCode::Ok,
            additional_data: None,
        },
    )?;
    stream.write_all(&out).await?;

    expect_header(stream, input, AMQP_HEADER).await?;
    stream.write_all(&AMQP_HEADER).await?;
    Ok(())
}

/// Waits for a protocol header. A peer that sends another one is told which we want.
async fn expect_header<S>(
    stream: &mut S,
    input: &mut BytesMut,
    header: [u8; 8],
) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while input.len() < header.len() {
        read(stream, input).await?;
    }
    if input[..header.len()] != header {
        stream.write_all(&header).await?;
        return Err(HandshakeError::OtherProtocol);
    }
    input.advance(header.len());
    Ok(())
}

async fn read<S>(stream: &mut S, input: &mut BytesMut) -> Result<(), HandshakeError>
where
    S: AsyncRead + Unpin,
{
    match stream.read_buf(input).await? {
        0 => Err(HandshakeError::Gone),
        _ => Ok(()),
    }
}
