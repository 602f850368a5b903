// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Length-prefixed frames: the codec, without any input or output of its own.
#include "agent/enrol/frame.hpp"

#include <algorithm>

namespace weft::enrol {

Result<std::string> encode_frame(std::string_view payload) {
    if (payload.size() > kMaxFrame) {
        return failure(EMSGSIZE, "a message of {} bytes is longer than the {} that a frame may have", payload.size(),
                       kMaxFrame);
    }
    std::string frame;
    frame.reserve(kFrameHeader + payload.size());
    for (unsigned shift = 32; shift > 0;) {
        shift -= 8;
        frame.push_back(static_cast<char>((payload.size() >> shift) & 0xff));
    }
    frame.append(payload);
    return frame;
}

std::size_t FrameDecoder::declared() const {
    std::size_t length = 0;
    for (std::size_t i = 0; i < kFrameHeader; ++i) {
        length = length << 8 | static_cast<unsigned char>(buffer_[i]);
    }
    return length;
}

std::size_t FrameDecoder::missing() const {
    if (buffer_.size() < kFrameHeader) {
        return kFrameHeader - buffer_.size();
    }
    return kFrameHeader + declared() - buffer_.size();
}

Result<std::optional<std::string>> FrameDecoder::feed(std::string_view bytes) {
    // The length is judged before anything behind it is kept, so a liar costs no memory.
    const std::size_t header =
        std::min(bytes.size(), buffer_.size() < kFrameHeader ? kFrameHeader - buffer_.size() : 0);
    buffer_.append(bytes.substr(0, header));
    bytes.remove_prefix(header);
    if (buffer_.size() < kFrameHeader) {
        return std::nullopt;
    }
    if (declared() > kMaxFrame) {
        return failure(EMSGSIZE, "a frame of {} bytes was announced, at most {} are allowed", declared(), kMaxFrame);
    }
    if (bytes.size() > missing()) {
        return failure(EPROTO, "{} bytes follow the end of the frame", bytes.size() - missing());
    }
    buffer_.append(bytes);
    if (missing() > 0) {
        return std::nullopt;
    }
    return buffer_.substr(kFrameHeader);
}

} // namespace weft::enrol
