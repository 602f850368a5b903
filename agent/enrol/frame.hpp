// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do messages between weft-cni and weftd look on the wire? A 4-byte big-endian length, then that many bytes.
// Both ends use this file, so that they cannot differ. Every limit on foreign bytes is here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "weft/base/result.hpp"

namespace weft::enrol {

/// Value of Request.protocol that this build speaks.
inline constexpr std::uint32_t kProtocol = 1;
/// Longest message in bytes, without its length prefix.
inline constexpr std::size_t kMaxFrame = std::size_t{1} << 20;
/// Bytes of the length prefix.
inline constexpr std::size_t kFrameHeader = 4;

/// `payload` with its length in front. Error: EMSGSIZE beyond kMaxFrame.
Result<std::string> encode_frame(std::string_view payload);

/// Collects the bytes of one frame as they arrive, in pieces of any size.
class FrameDecoder {
public:
    /// Takes in `bytes`. Returns the payload once it is whole, nullopt while bytes are missing.
    /// Errors: EMSGSIZE for a declared length above kMaxFrame, EPROTO for bytes after the frame. After an error, or
    /// a payload, the decoder is used up.
    Result<std::optional<std::string>> feed(std::string_view bytes);
    /// Bytes still missing as far as known: of the length prefix first, then of the payload.
    [[nodiscard]] std::size_t missing() const;

private:
    [[nodiscard]] std::size_t declared() const;

    std::string buffer_;
};

} // namespace weft::enrol
