// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Errors across gRPC: errno and text on both sides.
#include "agent/ca/rpc/status_codes.hpp"

#include <array>
#include <utility>

namespace weft::ca {
namespace {

constexpr std::array kCodes = {
    std::pair{EACCES, grpc::StatusCode::PERMISSION_DENIED},
    std::pair{EINVAL, grpc::StatusCode::INVALID_ARGUMENT},
    std::pair{EMSGSIZE, grpc::StatusCode::INVALID_ARGUMENT},
    std::pair{ENOENT, grpc::StatusCode::NOT_FOUND},
    std::pair{EBUSY, grpc::StatusCode::FAILED_PRECONDITION},
    std::pair{ENOKEY, grpc::StatusCode::FAILED_PRECONDITION},
    std::pair{EAGAIN, grpc::StatusCode::RESOURCE_EXHAUSTED},
    std::pair{EKEYREJECTED, grpc::StatusCode::UNAUTHENTICATED},
    std::pair{EKEYEXPIRED, grpc::StatusCode::UNAUTHENTICATED},
    std::pair{EKEYREVOKED, grpc::StatusCode::UNAUTHENTICATED},
    std::pair{ETIMEDOUT, grpc::StatusCode::DEADLINE_EXCEEDED},
    std::pair{ECONNREFUSED, grpc::StatusCode::UNAVAILABLE},
};

} // namespace

grpc::Status to_status(const Error& error) {
    for (const auto& [code, status] : kCodes) {
        if (code == error.code()) {
            return {status, error.message()};
        }
    }
    return {grpc::StatusCode::INTERNAL, error.message()};
}

Error from_status(const grpc::Status& status) {
    for (const auto& [code, known] : kCodes) {
        if (known == status.error_code()) {
            return {code, status.error_message()};
        }
    }
    return {EIO, status.error_message()};
}

} // namespace weft::ca
