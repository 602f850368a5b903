// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The proxies that this benchmark stands beside: HAProxy and nginx, one in each pod, with mutual TLS 1.3 between them.
// Their configurations do what their manuals advise for this, and nothing that the task does not need.
#pragma once

#include <string>

#include "weft/base/result.hpp"

namespace weft::bench {

/// Where everybody listens, in the pods' network namespaces.
inline constexpr int kServerPort = 7000;      ///< plain
inline constexpr int kNativePort = 7443;      ///< an application with TLS and kTLS of its own
inline constexpr int kHaproxyPort = 7001;     ///< in the client's pod; full handshakes
inline constexpr int kHaproxyResumed = 7002;  ///< the same, and sessions are resumed
inline constexpr int kNginxPort = 7003;       ///< in the client's pod; sessions are resumed
inline constexpr int kHaproxyTls = 8443;      ///< in the server's pod
inline constexpr int kNginxTls = 9443;        ///< in the server's pod

/// root.pem, and NAME.pem, NAME.key, NAME.both of "client" and "server" in `folder`.
Result<> write_certificates(const std::string& folder);
/// haproxy-client.cfg, haproxy-server.cfg, nginx-client.conf and nginx-server.conf in `folder`.
Result<> write_configurations(const std::string& folder, const std::string& server_address);

} // namespace weft::bench
