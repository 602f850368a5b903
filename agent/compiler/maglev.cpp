// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/maglev.hpp"

#include <algorithm>
#include <string_view>

namespace weft::compiler {
namespace {

constexpr std::uint32_t kSize = WEFT_MAGLEV_SIZE;
constexpr std::uint16_t kEmpty = 0xffff;
static_assert(WEFT_MAX_SLOTS < kEmpty);

/// FNV-1a with a murmur finalizer: needs spread, not strength, and must never change between versions.
std::uint64_t hash_of(const weft_addr_port& backend, std::uint64_t seed) {
    std::uint64_t h = 0xcbf29ce484222325ULL ^ seed;
    for (const char c : std::string_view(reinterpret_cast<const char*>(&backend), sizeof backend)) {
        h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    }
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdULL;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ULL;
    return h ^ (h >> 33);
}

/// A backend's own order of preference for table entries: a full cycle, because the size is prime.
struct Preference {
    std::uint32_t next;
    std::uint32_t skip;
    std::uint64_t credit = 0;
};

} // namespace

std::vector<std::uint16_t> maglev_table(std::span<const weft_slot> slots) {
    std::vector<Preference> preferences;
    preferences.reserve(slots.size());
    std::uint32_t heaviest = 1;
    for (const auto& slot : slots) {
        preferences.push_back({static_cast<std::uint32_t>(hash_of(slot.backend, 1) % kSize),
                               static_cast<std::uint32_t>(hash_of(slot.backend, 2) % (kSize - 1) + 1)});
        heaviest = std::max(heaviest, slot.weight);
    }
    std::vector<std::uint16_t> table(kSize, kEmpty);
    std::uint32_t filled = 0;
    while (filled < kSize) {
        for (std::size_t i = 0; i < slots.size() && filled < kSize; ++i) {
            // The heaviest backend takes an entry each round, the others their share of one.
            auto& preference = preferences[i];
            preference.credit += slots[i].weight;
            if (preference.credit < heaviest) {
                continue;
            }
            preference.credit -= heaviest;
            while (table[preference.next] != kEmpty) {
                preference.next = (preference.next + preference.skip) % kSize;
            }
            table[preference.next] = static_cast<std::uint16_t>(i);
            ++filled;
        }
    }
    return table;
}

} // namespace weft::compiler
