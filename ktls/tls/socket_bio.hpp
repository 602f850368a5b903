// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// OpenSSL's view of a socket that is not ours: never blocks whatever the descriptor's flags say, raises no SIGPIPE, and
// does not close it.
#pragma once

#include "weft/ktls/openssl_ptr.hpp"

namespace weft::ktls {

/// Null when out of memory.
OsslPtr<BIO> new_socket_bio(int fd);
/// errno of the last call that failed for good; 0 when none did.
int socket_bio_error(BIO* bio);
/// Whether the last read found the socket empty.
bool socket_bio_waits(BIO* bio);

} // namespace weft::ktls
