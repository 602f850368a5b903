// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How connections by mutual TLS fail, but for the handshake's own ways (include/weft/ktls/failure.hpp). Only a list, so
// that the command line has the words without the mesh.
#pragma once

/// X(enumerator, the word in metrics and flows, what happened): failures that are not the handshake's own.
#define WEFT_MESH_FAILURES(X)                                                                                          \
    X(kNotDialled, "not-dialled", "a connection to the agent's listener that no application dialled: closed")          \
    X(kUnknownPeer, "unknown-peer", "no identity is known for the peer's address: reset")                              \
    X(kNoCredentials, "no-credentials", "the workload has no valid certificate: reset")                                \
    X(kConnectFailed, "connect-failed", "the peer or the application did not take the connection: reset")              \
    X(kPlaintext, "plaintext-refused", "the first bytes are no Weft handshake, and the workload is strict: reset")     \
    X(kNoResources, "no-resources", "descriptors, ports or memory ran out: reset")                                     \
    X(kHandOver, "hand-over-failed", "the connection could not be given to whoever moves its bytes: reset")            \
    X(kTooMany, "too-many-handshakes", "more connections than allowed wait for their handshake: reset")
