// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A ClientHello read as far as its ALPN extension (RFC 8446, 4.1.2; RFC 7301, 3.1). Every length comes from a stranger:
// all reading goes through Reader, which cannot leave its span.
#include "weft/ktls/first_flight.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

namespace weft::ktls {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint8_t kHandshakeRecord = 22;
constexpr std::uint8_t kClientHello = 1;
constexpr std::uint16_t kAlpnExtension = 16;
constexpr std::size_t kRecordHeader = 5;
constexpr std::size_t kMessageHeader = 4;
constexpr std::size_t kLargestRecord = 16384;
constexpr std::string_view kWanted = "weft/1";

class Reader {
public:
    explicit Reader(Bytes bytes) : rest_(bytes) {}
    [[nodiscard]] bool done() const { return rest_.empty(); }
    /// `size` bytes, nullopt when fewer are left.
    std::optional<Bytes> take(std::size_t size) {
        if (size > rest_.size()) {
            return std::nullopt;
        }
        const auto taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }
    std::optional<std::size_t> number(std::size_t size) {
        const auto bytes = take(size);
        if (!bytes) {
            return std::nullopt;
        }
        std::size_t value = 0;
        for (const auto byte : *bytes) {
            value = value << 8 | byte;
        }
        return value;
    }
    /// A vector behind a length of `size` bytes.
    std::optional<Bytes> vector(std::size_t size) {
        const auto length = number(size);
        return length ? take(*length) : std::nullopt;
    }

private:
    Bytes rest_;
};

bool offers_weft(Bytes extension) {
    auto list = Reader(extension).vector(2);
    if (!list) {
        return false;
    }
    Reader names(*list);
    while (!names.done()) {
        const auto name = names.vector(1);
        if (!name) {
            return false;
        }
        if (name->size() == kWanted.size() && std::memcmp(name->data(), kWanted.data(), kWanted.size()) == 0) {
            return true;
        }
    }
    return false;
}

// The body of a whole ClientHello.
bool is_weft(Bytes body) {
    Reader hello(body);
    if (!hello.take(2 + 32) || !hello.vector(1) || !hello.vector(2) || !hello.vector(1)) {
        return false; // version and random, session id, cipher suites, compression methods
    }
    const auto extensions = hello.vector(2);
    if (!extensions) {
        return false;
    }
    Reader list(*extensions);
    while (!list.done()) {
        const auto type = list.number(2);
        const auto content = list.vector(2);
        if (!type || !content) {
            return false;
        }
        if (*type == kAlpnExtension) {
            return offers_weft(*content);
        }
    }
    return false;
}

} // namespace

FirstFlight classify_first_flight(Bytes bytes) {
    // The fixed start is judged byte by byte: "GET / HTTP/1.1" must not wait for more.
    constexpr std::array<std::uint8_t, 2> kStart = {kHandshakeRecord, 3};
    if (!std::equal(kStart.begin(), kStart.begin() + std::min(kStart.size(), bytes.size()), bytes.begin())) {
        return FirstFlight::kOther;
    }
    const auto more = bytes.size() >= kFirstFlightMost ? FirstFlight::kOther : FirstFlight::kNeedMore;
    std::vector<std::uint8_t> message;
    while (true) {
        Reader reader(bytes);
        const auto header = reader.take(kRecordHeader);
        if (!header) {
            return more;
        }
        const std::size_t length = static_cast<std::size_t>((*header)[3]) << 8 | (*header)[4];
        if ((*header)[0] != kHandshakeRecord || (*header)[1] != 3 || length == 0 || length > kLargestRecord) {
            return FirstFlight::kOther;
        }
        const auto present = std::min(length, bytes.size() - kRecordHeader);
        const auto fragment = bytes.subspan(kRecordHeader, present);
        message.insert(message.end(), fragment.begin(), fragment.end());
        if (!message.empty() && message[0] != kClientHello) {
            return FirstFlight::kOther;
        }
        if (message.size() >= kMessageHeader) {
            const std::size_t size =
                static_cast<std::size_t>(message[1]) << 16 | static_cast<std::size_t>(message[2]) << 8 | message[3];
            if (size > kLargestRecord - kMessageHeader) {
                return FirstFlight::kOther;
            }
            if (message.size() >= kMessageHeader + size) {
                return is_weft(Bytes(message).subspan(kMessageHeader, size)) ? FirstFlight::kWeft : FirstFlight::kOther;
            }
        }
        if (present < length) {
            return more;
        }
        bytes = bytes.subspan(kRecordHeader + length);
        if (message.size() > kLargestRecord) {
            return FirstFlight::kOther;
        }
    }
}

} // namespace weft::ktls
