// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How many clients are sent elsewhere when one of N backends of a maglev Service goes away? Measured with real connects
// of thousands of clients, over the tables that the compiler makes.
#include <fmt/format.h>

#include <algorithm>

#include "agent/compiler/maglev.hpp"
#include "tests/net/datapath/family.hpp"

namespace weft::test {
namespace {

constexpr int kClients = 4000;
constexpr int kBackends = 10;

class MaglevTest : public DatapathTest {
protected:
    /// Puts a set of these backends in force, as a change of the Service does: slots and table first, then the flip.
    void set_backends(std::uint64_t set, const std::vector<int>& numbers) {
        std::vector<weft_slot> slots;
        for (const int n : numbers) {
            slots.push_back({backend(n, 5353, IPPROTO_UDP), 1});
        }
        for (std::uint32_t i = 0; i < slots.size(); ++i) {
            put(world.bpf().maps.weft_slot, weft_slot_key{set, i, 0}, slots[i]);
        }
        const auto table = compiler::maglev_table(slots);
        ASSERT_EQ(table.size(), std::size_t{WEFT_MAGLEV_SIZE});
        for (std::uint32_t chunk = 0; chunk < WEFT_MAGLEV_CHUNKS; ++chunk) {
            weft_maglev_chunk part{};
            const std::size_t begin = std::size_t{chunk} * WEFT_MAGLEV_CHUNK;
            const std::size_t end = std::min<std::size_t>(begin + WEFT_MAGLEV_CHUNK, table.size());
            for (std::size_t i = begin; i < end; ++i) {
                part.slot[i - begin] = table[i];
            }
            put(world.bpf().maps.weft_maglev, weft_maglev_key{set, chunk, 0}, part);
        }
        weft_service service{};
        service.service = 77;
        service.set = set;
        service.slot_count = static_cast<std::uint32_t>(slots.size());
        service.algorithm = WEFT_ALGORITHM_MAGLEV;
        put(world.bpf().maps.weft_service, vip(53, IPPROTO_UDP), service);
    }
    /// The backend that each client is connected to. A client is known by its workload's address.
    std::vector<std::string> choices() {
        std::vector<std::string> chosen;
        world.client.run([&] {
            for (int i = 0; i < kClients; ++i) {
                weft_endpoint client{};
                const std::string address = family.name == std::string("ipv6")
                                                ? fmt::format("fd99::{:x}", 1 + i)
                                                : fmt::format("10.200.{}.{}", i / 250, 1 + i % 250);
                (Ip::parse(address)->is_v4() ? client.addr4 : client.addr6) = Ip::parse(address)->raw();
                put(world.bpf().maps.weft_endpoint, world.client.cookie(), client);
                const auto fd = open_socket(family.domain(), SOCK_DGRAM);
                ASSERT_EQ(connect_to(fd.get(), family.dial(family.vip, 53)), 0);
                weft_socket state{};
                const int key = fd.get();
                ASSERT_EQ(bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_socket), &key, &state), 0);
                chosen.push_back(to_string(state.backend));
            }
        });
        return chosen;
    }

private:
    template <typename K, typename V>
    static void put(const bpf_map* map, const K& key, const V& value) {
        ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(map), &key, &value, BPF_ANY), 0) << bpf_map__name(map);
    }
};

INSTANTIATE_TEST_SUITE_P(Families, MaglevTest, ::testing::ValuesIn(kFamilies), family_name);

TEST_P(MaglevTest, RemovingOneBackendMovesFewClientsBesideItsOwn) {
    set_backends(1, {10, 11, 12, 13, 14, 15, 16, 17, 18, 19});
    const auto before = choices();
    ASSERT_EQ(before.size(), std::size_t{kClients});
    EXPECT_EQ(choices(), before) << "nothing changed";
    set_backends(2, {10, 11, 12, 13, 15, 16, 17, 18, 19});
    const auto after = choices();
    const std::string removed = to_string(backend(14, 5353, IPPROTO_UDP));
    const auto orphans = std::ranges::count(before, removed);
    int moved = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
        EXPECT_NE(after[i], removed);
        moved += before[i] != after[i] ? 1 : 0;
    }
    RecordProperty("orphans", static_cast<int>(orphans));
    RecordProperty("moved", moved);
    EXPECT_NEAR(static_cast<double>(orphans) / kClients, 1.0 / kBackends, 0.02) << "an even share was lost";
    EXPECT_GE(moved, orphans);
    EXPECT_LE(static_cast<double>(moved) / kClients, 1.0 / kBackends + 0.02);
}

} // namespace
} // namespace weft::test
