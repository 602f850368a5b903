// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/admin/grpc_status.hpp"

#include <cerrno>

namespace weft::admin {

grpc::Status to_status(const Result<>& result) {
    if (result) {
        return grpc::Status::OK;
    }
    switch (result.error().code()) {
    case ENOENT:
        return {grpc::StatusCode::NOT_FOUND, result.error().message()};
    case EINVAL:
        return {grpc::StatusCode::INVALID_ARGUMENT, result.error().message()};
    case EOPNOTSUPP:
        return {grpc::StatusCode::FAILED_PRECONDITION, result.error().message()};
    case EBUSY:
        return {grpc::StatusCode::RESOURCE_EXHAUSTED, result.error().message()};
    default:
        return {grpc::StatusCode::INTERNAL, result.error().message()};
    }
}

} // namespace weft::admin
