// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One connection of the benchmark's peers: plain, or with TLS by its own hands and the records in the kernel.
#pragma once

#include <memory>
#include <string>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"
#include "weft/ktls/context.hpp"

namespace weft::bench {

/// Certificates of both peers in the files of `folder`: SIDE.pem, SIDE.key, root.pem, as sidecars.hpp writes them.
Result<std::shared_ptr<const ktls::Context>> context_of(const std::string& folder, const std::string& side);

/// A connection to ADDRESS:PORT; by TLS when `context` is not null.
Result<UniqueFd> dial(const std::string& address, const std::string& port,
                      const std::shared_ptr<const ktls::Context>& context);
/// The server's part of the handshake.
Result<> accept_tls(int fd, const std::shared_ptr<const ktls::Context>& context);

/// Exactly so many bytes; false when the other end has closed.
bool send_all(int fd, const char* data, std::size_t size);
bool receive_all(int fd, char* data, std::size_t size);

} // namespace weft::bench
