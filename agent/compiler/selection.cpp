// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/selection.hpp"

#include <algorithm>
#include <array>
#include <numeric>

namespace weft::compiler {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"random", "round-robin", "maglev", "least-connections"};

/// Weights with the same proportions, as small as they can be, and at most WEFT_MAX_SLOTS in sum.
std::vector<std::uint32_t> scaled(const std::vector<Weighted>& backends) {
    std::uint32_t divisor = 0;
    std::uint64_t total = 0;
    for (const auto& backend : backends) {
        divisor = std::gcd(divisor, backend.weight);
    }
    std::vector<std::uint32_t> weights;
    weights.reserve(backends.size());
    for (const auto& backend : backends) {
        weights.push_back(backend.weight / std::max(divisor, 1U));
        total += weights.back();
    }
    if (total > WEFT_MAX_SLOTS) {
        // Everyone keeps one slot; the rest is shared out by weight.
        const std::uint64_t spare = WEFT_MAX_SLOTS - backends.size();
        for (auto& weight : weights) {
            weight = static_cast<std::uint32_t>(1 + weight * spare / total);
        }
    }
    return weights;
}

} // namespace

std::optional<std::uint16_t> algorithm_number(std::string_view name) {
    const auto found = std::ranges::find(kNames, name);
    return found == kNames.end() ? std::nullopt : std::optional(static_cast<std::uint16_t>(found - kNames.begin()));
}

std::string algorithm_name(std::uint16_t number) {
    return number < kNames.size() ? std::string(kNames[number]) : std::to_string(number);
}

std::vector<weft_slot> make_slots(const std::vector<Weighted>& backends, std::uint16_t algorithm) {
    std::vector<weft_slot> slots;
    if (algorithm == WEFT_ALGORITHM_MAGLEV || algorithm == WEFT_ALGORITHM_LEAST_CONNECTIONS) {
        slots.reserve(backends.size());
        for (const auto& backend : backends) {
            slots.push_back({backend.backend, backend.weight});
        }
        return slots;
    }
    // Slot k of a backend with n slots wants position (k + 1/2) / n: sorted, that spreads each backend evenly.
    struct Wish {
        double position;
        std::size_t backend;
    };
    const auto weights = scaled(backends);
    std::vector<Wish> wishes;
    for (std::size_t i = 0; i < backends.size(); ++i) {
        for (std::uint32_t k = 0; k < weights[i]; ++k) {
            wishes.push_back({(k + 0.5) / weights[i], i});
        }
    }
    std::ranges::stable_sort(wishes, {}, &Wish::position);
    slots.reserve(wishes.size());
    for (const auto& wish : wishes) {
        slots.push_back({backends[wish.backend].backend, 1});
    }
    return slots;
}

} // namespace weft::compiler
