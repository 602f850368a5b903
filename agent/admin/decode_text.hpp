// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Bytes of the kernel's maps as structs and as text: what every decoder of decode.cpp is made of.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace weft::admin {

using Bytes = std::span<const std::byte>;

inline std::string hex(Bytes bytes) {
    std::string out;
    for (const auto byte : bytes) {
        out += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    }
    return out;
}

template <typename T>
std::optional<T> read(Bytes bytes) {
    if (bytes.size() != sizeof(T)) {
        return std::nullopt;
    }
    T value{};
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

// Text of a struct, or its bytes when they are not one.
template <typename T, typename Print>
std::string shown(Bytes bytes, Print print) {
    const auto value = read<T>(bytes);
    return value ? std::string(print(*value))
                 : fmt::format("0x{} ({} bytes, expected {})", hex(bytes), bytes.size(), sizeof(T));
}

struct Flag {
    std::uint32_t bit;
    const char* name;
};

inline std::string flag_names(std::uint32_t value, std::span<const Flag> flags) {
    std::vector<std::string> names;
    for (const auto& flag : flags) {
        if ((value & flag.bit) != 0) {
            names.emplace_back(flag.name);
            value &= ~flag.bit;
        }
    }
    if (value != 0) {
        names.push_back(fmt::format("0x{:x}", value));
    }
    return names.empty() ? "-" : fmt::format("{}", fmt::join(names, ","));
}

} // namespace weft::admin
