// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Where is an OTLP receiver? The text of the configuration, taken apart. Knows no gRPC.
#pragma once

#include <string>

#include "weft/base/result.hpp"

namespace weft::otlp {

/// Where an endpoint is.
struct Endpoint {
    std::string target;       ///< as gRPC names it
    bool tls = false;         ///< https
    bool leaves_node = false; ///< neither a socket nor a loopback address
};

/// http://HOST:PORT, https://HOST:PORT or unix:///PATH. Error EINVAL, naming these.
Result<Endpoint> parse_endpoint(const std::string& text);

} // namespace weft::otlp
