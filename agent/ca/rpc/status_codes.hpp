// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Errors of weft-ca across gRPC: the same errno and text on both sides.
#pragma once

#include <grpcpp/support/status.h>

#include "weft/base/result.hpp"

namespace weft::ca {

/// How an error looks to a caller.
grpc::Status to_status(const Error& error);
/// What a caller makes of it: EACCES, EINVAL, ENOENT, EBUSY, EAGAIN, EKEYREJECTED, ETIMEDOUT, ECONNREFUSED or EIO.
Error from_status(const grpc::Status& status);

} // namespace weft::ca
