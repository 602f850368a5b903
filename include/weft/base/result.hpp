// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How every fallible function of Weft reports failure: a value, or an Error that says which operation failed,
// on what object, and what to do. Libraries return it and do not log; whoever handles it logs it once.
#pragma once

#include <cerrno>
#include <cstring>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace weft {

/// A failure. `message()` is one line a user can act on.
class [[nodiscard]] Error {
public:
    /// `code` is an errno value (EINVAL for bad input); `what` a whole sentence part naming operation, object, remedy.
    Error(int code, std::string what) : code_(code), what_(std::move(what)) {}

    /// errno value that names the kind of failure.
    [[nodiscard]] int code() const { return code_; }
    /// The one-line text.
    [[nodiscard]] const std::string& message() const { return what_; }
    /// The same error seen from one level up: "outer: inner".
    [[nodiscard]] Error within(std::string_view outer) const { return {code_, fmt::format("{}: {}", outer, what_)}; }

private:
    int code_;
    std::string what_;
};

template <typename T = void>
using Result = std::expected<T, Error>;

/// Bad input: EINVAL with a formatted text.
template <typename... Args>
[[nodiscard]] std::unexpected<Error> invalid(fmt::format_string<Args...> format, Args&&... args) {
    return std::unexpected(Error(EINVAL, fmt::format(format, std::forward<Args>(args)...)));
}

/// A failure with an explicit errno value.
template <typename... Args>
[[nodiscard]] std::unexpected<Error> failure(int code, fmt::format_string<Args...> format, Args&&... args) {
    return std::unexpected(Error(code, fmt::format(format, std::forward<Args>(args)...)));
}

/// A failed system call: the text is followed by errno's own.
template <typename... Args>
[[nodiscard]] std::unexpected<Error> system_failure(fmt::format_string<Args...> format, Args&&... args) {
    const int code = errno;
    return std::unexpected(
        Error(code, fmt::format("{}: {}", fmt::format(format, std::forward<Args>(args)...), std::strerror(code))));
}

/// Return the error of `expr` from the calling function; otherwise go on.
#define WEFT_TRY(expr)                                                                                                 \
    do {                                                                                                               \
        if (auto weft_try_result = (expr); !weft_try_result.has_value()) {                                             \
            return std::unexpected(std::move(weft_try_result).error());                                                \
        }                                                                                                              \
    } while (false)

#define WEFT_JOIN_(a, b) a##b
#define WEFT_JOIN(a, b) WEFT_JOIN_(a, b)

/// `WEFT_ASSIGN(auto x, f())`: x is f()'s value, or the calling function returns f()'s error.
#define WEFT_ASSIGN(declaration, expr) WEFT_ASSIGN_(WEFT_JOIN(weft_assign_, __LINE__), declaration, expr)
#define WEFT_ASSIGN_(temporary, declaration, expr)                                                                     \
    auto temporary = (expr);                                                                                           \
    if (!temporary.has_value()) {                                                                                      \
        return std::unexpected(std::move(temporary).error());                                                          \
    }                                                                                                                  \
    declaration = std::move(temporary).value()

} // namespace weft
