// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does a client of the API learn of an error? As the status code that fits its number, with the whole message.
#pragma once

#include <grpcpp/support/status.h>

#include "weft/base/result.hpp"

namespace weft::admin {

/// ENOENT is NOT_FOUND, EINVAL INVALID_ARGUMENT, EOPNOTSUPP FAILED_PRECONDITION, EBUSY RESOURCE_EXHAUSTED, any other
/// INTERNAL.
grpc::Status to_status(const Result<>& result);

} // namespace weft::admin
