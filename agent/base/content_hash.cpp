// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "weft/base/content_hash.hpp"

#include <openssl/sha.h>

#include <array>
#include <cstring>

#include <fmt/format.h>

namespace weft {

ContentHash& ContentHash::add(std::string_view field) {
    add(field.size());
    bytes_.append(field);
    return *this;
}

ContentHash& ContentHash::add(std::uint64_t field) {
    std::array<char, sizeof field> raw{};
    std::memcpy(raw.data(), &field, sizeof field);
    bytes_.append(raw.data(), raw.size());
    return *this;
}

std::uint64_t ContentHash::id() const {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    SHA256(reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size(), digest.data());
    std::uint64_t id = 0;
    std::memcpy(&id, digest.data(), sizeof id);
    return id < 256 ? id + 256 : id;
}

std::string id_text(std::uint64_t id) {
    return fmt::format("{:016x}", id);
}

std::uint64_t workload_id(std::string_view namespace_name, std::string_view pod_name) {
    return ContentHash("workload").add(namespace_name).add(pod_name).id();
}

} // namespace weft
