// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which sockets do the hooks know, in every network namespace of the machine? Runs the socket iterator program.
#pragma once

#include <vector>

#include "weft/abi/socket.h"
#include "weft/base/result.hpp"

namespace weft::bpf {

/// One record per tagged socket. `iterator_fd`: program weft_conn_iter; `storage_fd`: map weft_socket.
Result<std::vector<weft_conn>> read_connections(int iterator_fd, int storage_fd);

} // namespace weft::bpf
