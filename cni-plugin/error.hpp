// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which failures can a CNI runtime tell apart? The specification's error codes, and ours from 100 on, as one value
// that is printed as the error object on stdout.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace weft::cni {

/// Codes of the CNI specification, section "Error"; below 100 they are the specification's to give.
enum class Code : int {
    kIncompatibleVersion = 1,
    kUnsupportedField = 2,
    kUnknownContainer = 3,
    kInvalidEnvironment = 4,
    kIo = 5,
    kDecode = 6,
    kInvalidConfig = 7,
    kTryAgainLater = 11,
    kNotAvailable = 50,
    kAgentFailed = 100, ///< ours: the agent answered that it could not do it
};

/// A failure as the runtime sees it.
struct CniError {
    Code code = Code::kIo;
    std::string message; ///< names the field or variable
    std::string details; ///< what to do
};

template <typename T = void>
using CniResult = std::expected<T, CniError>;

/// Shorthand for the failing return.
[[nodiscard]] inline std::unexpected<CniError> fail(Code code, std::string message, std::string details = {}) {
    return std::unexpected(CniError{code, std::move(message), std::move(details)});
}

} // namespace weft::cni
