// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The two programs that talk in this benchmark: a server, and a client that measures. Both run in pods.
#pragma once

#include <string>
#include <vector>

namespace weft::bench {

/// `peer serve PORT [PKI]`: answers measure(). With a folder of certificates it speaks TLS itself and gives the records
/// to the kernel, as an application would that knows about kTLS.
/// `peer measure ADDRESS PORT [PKI]`: prints one line of JSON with every figure.
/// `peer hold ADDRESS PORT COUNT SECONDS`: opens so many connections, says "open", and keeps them idle.
/// The exit code.
int peer(const std::vector<std::string>& arguments);

} // namespace weft::bench
