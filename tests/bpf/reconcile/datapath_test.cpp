// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The data path's life in the kernel: first start, restart, growth, another cgroup, refusal of foreign pins, removal;
// with real connections through a Service all the while.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bpf/bpf.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "agent/bpf/conn_reader.hpp"
#include "agent/bpf/counters.hpp"
#include "agent/bpf/datapath.hpp"
#include "agent/bpf/hooks.hpp"
#include "agent/bpf/kernel_map.hpp"
#include "agent/bpf/netns.hpp"
#include "agent/bpf/pins.hpp"
#include "agent/bpf/ring_reader.hpp"
#include "agent/bpf/udp_reaper.hpp"
#include "agent/bpf/uninstall.hpp"
#include "agent/reconcile/reconciler.hpp"
#include "agent/reconcile/sizes.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/world.hpp"
#include "tests/unit/reconcile/states.hpp"

namespace weft::test {
namespace {

namespace fs = std::filesystem;
using reconcile::Reconciler;
using testing::HasSubstr;

constexpr const char* kPins = "/sys/fs/bpf";
constexpr const char* kPrefix = "weft-datapath-test-";

// Pins of test runs that were killed.
void remove_leftovers() {
    for (const std::string& name : bpf::names_in(kPins)) {
        if (name.starts_with(kPrefix) && ::kill(std::stoi(name.substr(std::strlen(kPrefix))), 0) != 0) {
            (void)bpf::uninstall(std::string(kPins) + "/" + name); // another run may be doing the same
        }
    }
}

std::string pin_dir() {
    return std::string(kPins) + "/" + kPrefix + std::to_string(::getpid());
}

class DatapathLife : public testing::Test {
protected:
    void SetUp() override {
        remove_leftovers();
        netns.run([&] {
            listener = listen_on({"127.0.0.1", 8080});
            echo = bound_datagram({"127.0.0.1", 8080});
        });
        options.pin_dir = pin_dir();
        options.cgroup_path = cgroup.path();
        auto image = std::make_shared<compiler::PolicyImage>();
        weft_endpoint endpoint{};
        endpoint.workload = 4711;
        endpoint.addr4 = addr("10.0.0.1");
        image->endpoints[netns.cookie()] = endpoint;
        rules = image;
        desired = state({service({"web", {"10.96.0.1"}, {"127.0.0.1"}}),
                         service({"dns", {"10.96.0.10"}, {"127.0.0.1"}, IPPROTO_UDP, true})},
                        rules);
    }
    void TearDown() override {
        EXPECT_TRUE(bpf::uninstall(pin_dir()).has_value());
        EXPECT_FALSE(fs::exists(pin_dir()));
        fs::remove(cgroup.path() + "/elsewhere");
    }

    bpf::FillMaps fill() {
        return [this](const bpf::ConfigMaps& maps) -> Result<> {
            WEFT_TRY(reconciler.bind(maps));
            WEFT_ASSIGN(stats, reconciler.apply(desired));
            return {};
        };
    }
    Result<bpf::Datapath> open() { return bpf::Datapath::open(options, fill()); }

    /// 0 or errno of a connect to the Service from inside the workload's namespace.
    int connect_web() const {
        int result = -1;
        netns.run([&] {
            const UniqueFd client = open_socket(AF_INET, SOCK_STREAM);
            result = connect_to(client.get(), {"10.96.0.1", 80});
        });
        return result;
    }
    static std::map<std::string, std::uint32_t> link_ids() {
        std::map<std::string, std::uint32_t> ids;
        const bpf::PinLayout layout(pin_dir());
        for (const std::string& name : bpf::names_in(layout.links_dir())) {
            const UniqueFd fd(bpf_obj_get(layout.link(name).c_str()));
            bpf_link_info info{};
            __u32 length = sizeof info;
            EXPECT_EQ(bpf_obj_get_info_by_fd(fd.get(), &info, &length), 0);
            ids[name] = info.id;
        }
        return ids;
    }
    static bpf::MapFacts pinned_map(const std::string& name) {
        return bpf::map_facts(UniqueFd(bpf_obj_get(bpf::PinLayout(pin_dir()).map(name).c_str())).get()).value();
    }

    Netns netns;
    PrivateCgroup cgroup;
    UniqueFd listener;
    UniqueFd echo;
    bpf::DatapathOptions options;
    std::shared_ptr<const compiler::PolicyImage> rules;
    compiler::DesiredState desired;
    Reconciler reconciler;
    reconcile::ApplyStats stats;
};

TEST_F(DatapathLife, FirstStartFillsMapsBeforeAnyHookSeesThem) {
    std::size_t links_during_fill = 99;
    auto datapath = bpf::Datapath::open(options, [&](const bpf::ConfigMaps& maps) -> Result<> {
        links_during_fill = link_ids().size();
        return fill()(maps);
    });
    ASSERT_TRUE(datapath.has_value()) << datapath.error().message();
    EXPECT_EQ(links_during_fill, 0u);
    EXPECT_EQ(datapath->stats().attached, datapath->hooks().size());
    EXPECT_GE(datapath->hooks().size(), 13u);
    EXPECT_EQ(link_ids().size(), datapath->hooks().size());
    EXPECT_FALSE(datapath->stats().maps_adopted);
    EXPECT_EQ(connect_web(), 0);
}

TEST_F(DatapathLife, HooksActWithoutAnAgentAndAreTakenOverInPlace) {
    {
        ASSERT_TRUE(open().has_value());
    }
    EXPECT_EQ(connect_web(), 0) << "no agent, but the Service works";
    const auto before = link_ids();
    Reconciler fresh;
    reconciler = std::move(fresh);
    auto second = open();
    ASSERT_TRUE(second.has_value()) << second.error().message();
    EXPECT_TRUE(second->stats().maps_adopted);
    EXPECT_EQ(second->stats().attached, 0u);
    EXPECT_EQ(second->stats().replaced, second->hooks().size());
    EXPECT_EQ(stats.written + stats.removed, 0u);
    EXPECT_EQ(link_ids(), before) << "the links themselves live on";
    EXPECT_EQ(connect_web(), 0);
}

TEST_F(DatapathLife, NoConnectFailsWhileAgentsComeAndGoAndMapsGrow) {
    auto datapath = open();
    ASSERT_TRUE(datapath.has_value()) << datapath.error().message();
    std::atomic<bool> stop = false;
    std::atomic<std::size_t> connects = 0;
    std::atomic<std::size_t> failures = 0;
    std::thread load([&] {
        netns.run([&] {
            while (!stop) {
                const UniqueFd client = open_socket(AF_INET, SOCK_STREAM);
                failures += connect_to(client.get(), {"10.96.0.1", 80}) != 0;
                const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
                ++connects;
            }
        });
    });
    const auto make_progress = [&] {
        const std::size_t target = connects + 50;
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (connects < target && std::chrono::steady_clock::now() < deadline) {
            std::this_thread::yield();
        }
    };
    bool good = true;
    for (int round = 0; round < 5 && good; ++round) {
        make_progress();
        reconciler = Reconciler();
        auto next = open();
        good = next.has_value() && next->stats().replaced == next->hooks().size();
        make_progress();
        if (good) {
            bpf::MapSizes sizes;
            sizes.slot = 5000u << round;
            good = next->grow(sizes, fill()).has_value();
            datapath = std::move(next);
        }
    }
    make_progress();
    stop = true;
    load.join();
    EXPECT_TRUE(good);
    EXPECT_GT(connects, 300u);
    EXPECT_EQ(failures, 0u) << "of " << connects;
}

TEST_F(DatapathLife, GrowthKeepsStateMapsAndReplacesConfigMaps) {
    auto datapath = open();
    ASSERT_TRUE(datapath.has_value()) << datapath.error().message();
    const auto sockets = pinned_map("weft_socket").id;
    const auto conns = pinned_map("weft_conns").id;
    const auto slots = pinned_map("weft_slot");
    const auto links = link_ids();
    bpf::MapSizes sizes = reconcile::wanted_sizes(desired);
    sizes.slot = slots.max_entries;
    ASSERT_FALSE(bpf::fits(sizes, datapath->maps()));
    ASSERT_TRUE(datapath->grow(sizes, fill()).has_value());
    EXPECT_TRUE(datapath->stats().maps_grown);
    EXPECT_TRUE(bpf::fits(sizes, datapath->maps()));
    EXPECT_EQ(pinned_map("weft_socket").id, sockets);
    EXPECT_EQ(pinned_map("weft_conns").id, conns);
    EXPECT_NE(pinned_map("weft_slot").id, slots.id);
    EXPECT_EQ(pinned_map("weft_slot").max_entries, slots.max_entries * 2);
    EXPECT_EQ(link_ids(), links);
    EXPECT_EQ(connect_web(), 0);
    // A restart that wants more than is pinned grows on its own.
    reconciler = Reconciler();
    options.sizes.slot = slots.max_entries * 2;
    auto restarted = open();
    ASSERT_TRUE(restarted.has_value()) << restarted.error().message();
    EXPECT_TRUE(restarted->stats().maps_grown);
    EXPECT_EQ(pinned_map("weft_slot").max_entries, slots.max_entries * 4);
    EXPECT_EQ(connect_web(), 0);
}

TEST_F(DatapathLife, AFailedFillLeavesThePresentHooksAndMaps) {
    auto datapath = open();
    ASSERT_TRUE(datapath.has_value()) << datapath.error().message();
    const auto slots = pinned_map("weft_slot").id;
    const auto refused =
        datapath->grow({}, [](const bpf::ConfigMaps&) -> Result<> { return failure(E2BIG, "injected"); });
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(pinned_map("weft_slot").id, slots);
    EXPECT_EQ(connect_web(), 0);
    ASSERT_TRUE(reconciler.bind(datapath->maps()).has_value());
    ASSERT_TRUE(reconciler.apply(state({}, rules)).has_value());
    EXPECT_NE(connect_web(), 0) << "the maps of before are the ones that count";
}

TEST_F(DatapathLife, AMissingHookIsAttachedAgain) {
    {
        ASSERT_TRUE(open().has_value());
    }
    ASSERT_TRUE(bpf::detach_pinned(bpf::PinLayout(pin_dir()).link("weft_connect4")).has_value());
    EXPECT_NE(connect_web(), 0);
    auto datapath = open();
    ASSERT_TRUE(datapath.has_value()) << datapath.error().message();
    EXPECT_EQ(datapath->stats().attached, 1u);
    EXPECT_EQ(connect_web(), 0);
}

TEST_F(DatapathLife, AHookThatCannotBeAttachedGivesTheOthersTheirOldProgramsBack) {
    {
        ASSERT_TRUE(open().has_value());
    }
    const bpf::PinLayout layout(pin_dir());
    ASSERT_TRUE(bpf::detach_pinned(layout.link("weft_sockops")).has_value());
    const auto programs = [&] {
        std::map<std::string, std::uint32_t> ids;
        for (const std::string& name : bpf::names_in(layout.links_dir())) {
            const UniqueFd fd(bpf_obj_get(layout.link(name).c_str()));
            bpf_link_info info{};
            __u32 length = sizeof info;
            EXPECT_EQ(bpf_obj_get_info_by_fd(fd.get(), &info, &length), 0);
            ids[name] = info.prog_id;
        }
        return ids;
    };
    const auto before = programs();
    const std::unique_ptr<weft_bpf, void (*)(weft_bpf*)> other(weft_bpf__open_and_load(), weft_bpf__destroy);
    ASSERT_NE(other, nullptr);
    const auto target = bpf::open_cgroup(cgroup.path());
    ASSERT_TRUE(target.has_value());
    const auto refused =
        bpf::switch_hooks({{"weft_create", bpf_program__fd(other->progs.weft_create), BPF_CGROUP_INET_SOCK_CREATE},
                           {"weft_sockops", bpf_program__fd(other->progs.weft_sockops), BPF_CGROUP_SOCK_OPS},
                           {"weft_egress", -1, BPF_CGROUP_INET_EGRESS}},
                          *target, layout);
    ASSERT_FALSE(refused.has_value());
    EXPECT_THAT(refused.error().message(), HasSubstr("weft_egress"));
    EXPECT_EQ(programs(), before);
    EXPECT_EQ(connect_web(), 0);
}

TEST_F(DatapathLife, HooksMoveToTheConfiguredCgroup) {
    const std::string other = cgroup.path() + "/elsewhere";
    ASSERT_TRUE(fs::create_directory(other));
    options.cgroup_path = other;
    {
        ASSERT_TRUE(open().has_value());
        EXPECT_NE(connect_web(), 0) << "this process is not below that cgroup";
    }
    options.cgroup_path = cgroup.path();
    auto datapath = open();
    fs::remove(other);
    ASSERT_TRUE(datapath.has_value()) << datapath.error().message();
    EXPECT_EQ(datapath->stats().reattached, datapath->hooks().size());
    EXPECT_EQ(connect_web(), 0);
}

TEST_F(DatapathLife, PinsOfAnotherLayoutAreRefusedWithTheRemedy) {
    const bpf::PinLayout layout(pin_dir());
    ASSERT_TRUE(layout.create().has_value());
    DECLARE_LIBBPF_OPTS(bpf_map_create_opts, create);
    create.map_flags = BPF_F_NO_PREALLOC;
    const UniqueFd foreign(
        bpf_map_create(BPF_MAP_TYPE_HASH, "weft_slot", sizeof(weft_slot_key), sizeof(weft_slot) + 8, 16, &create));
    ASSERT_EQ(bpf_obj_pin(foreign.get(), layout.map("weft_slot").c_str()), 0);
    const auto refused = open();
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), EPROTO);
    EXPECT_THAT(refused.error().message(),
                HasSubstr("weft_slot has another layout (value size 32, this version has 24)"));
    EXPECT_THAT(refused.error().message(), HasSubstr("weft uninstall"));
    EXPECT_TRUE(link_ids().empty());
}

TEST_F(DatapathLife, AnotherAbiVersionIsReplacedAndRemoved) {
    ASSERT_TRUE(open().has_value());
    const bpf::PinLayout layout(pin_dir());
    const std::string old = pin_dir() + "/v999";
    fs::create_directories(old + "/links");
    fs::create_directories(old + "/maps");
    fs::rename(layout.link("weft_create"), old + "/links/weft_create");
    auto datapath = open();
    ASSERT_TRUE(datapath.has_value()) << datapath.error().message();
    EXPECT_FALSE(fs::exists(old));
    EXPECT_EQ(datapath->stats().attached, 1u);
    EXPECT_EQ(connect_web(), 0);
}

TEST_F(DatapathLife, FaultsOfTheSurroundingsAreNamed) {
    auto wrong = options;
    wrong.cgroup_path = cgroup.path() + "/none";
    const auto no_cgroup = bpf::Datapath::open(wrong, fill());
    ASSERT_FALSE(no_cgroup.has_value());
    EXPECT_EQ(no_cgroup.error().code(), ENOENT);
    EXPECT_THAT(no_cgroup.error().message(), HasSubstr("does not exist"));
    wrong = options;
    wrong.cgroup_path = "/tmp";
    EXPECT_THAT(bpf::Datapath::open(wrong, fill()).error().message(), HasSubstr("cgroup v2"));
    wrong = options;
    wrong.pin_dir = "/tmp/weft-no-bpffs/node";
    const auto no_bpffs = bpf::Datapath::open(wrong, fill());
    ASSERT_FALSE(no_bpffs.has_value());
    EXPECT_EQ(no_bpffs.error().code(), ENODEV);
    EXPECT_THAT(no_bpffs.error().message(), HasSubstr("mount -t bpf"));
}

TEST_F(DatapathLife, UninstallEndsTheServiceAndCanBeRepeated) {
    ASSERT_TRUE(open().has_value());
    ASSERT_EQ(connect_web(), 0);
    ASSERT_TRUE(fs::create_directory(cgroup.path() + "/" + bpf::kMeshCgroup)); // as the mesh makes it
    ASSERT_TRUE(bpf::uninstall(pin_dir()).has_value());
    EXPECT_FALSE(fs::exists(pin_dir()));
    EXPECT_FALSE(fs::exists(cgroup.path() + "/" + bpf::kMeshCgroup));
    EXPECT_NE(connect_web(), 0);
    EXPECT_TRUE(bpf::uninstall(pin_dir()).has_value());
}

TEST_F(DatapathLife, ConnectionsCountersAndEventsCanBeRead) {
    auto datapath = open();
    ASSERT_TRUE(datapath.has_value()) << datapath.error().message();
    auto ring = bpf::RingReader::open(datapath->map_fd("weft_events").value());
    ASSERT_TRUE(ring.has_value());
    UniqueFd client;
    netns.run([&] {
        client = open_socket(AF_INET, SOCK_STREAM);
        ASSERT_EQ(connect_to(client.get(), {"10.96.0.1", 80}), 0);
    });
    const auto connections =
        bpf::read_connections(datapath->program_fd("weft_conn_iter").value(), datapath->map_fd("weft_socket").value());
    ASSERT_TRUE(connections.has_value()) << connections.error().message();
    const auto mine = std::ranges::find_if(*connections, [&](const weft_conn& connection) {
        return connection.socket.netns == netns.cookie() && (connection.socket.flags & WEFT_SOCKET_TRANSLATED) != 0;
    });
    ASSERT_NE(mine, connections->end());
    EXPECT_EQ(to_string(mine->socket.asked), "TCP 10.96.0.1:80");
    EXPECT_EQ(to_string(mine->remote), "TCP 127.0.0.1:8080");
    const auto counters = bpf::read_counters(datapath->map_fd("weft_counters").value());
    ASSERT_TRUE(counters.has_value());
    EXPECT_EQ(counters->at(WEFT_COUNTER_TRANSLATIONS), 1u);
    std::size_t connects = 0;
    ASSERT_TRUE(
        ring->consume([&](const weft_event& event) { connects += event.kind == WEFT_EVENT_CONNECT; }).has_value());
    EXPECT_EQ(connects, 1u);
    EXPECT_FALSE(bpf::read_counters(datapath->map_fd("weft_slot").value()).has_value());
    EXPECT_EQ(datapath->map_fd("weft_none").error().code(), ENOENT);
}

TEST_F(DatapathLife, UdpSocketsOfAGoneBackendAreDestroyed) {
    auto datapath = open();
    ASSERT_TRUE(datapath.has_value()) << datapath.error().message();
    UniqueFd pinned, mapped, direct;
    netns.run([&] {
        pinned = open_socket(AF_INET, SOCK_DGRAM);
        mapped = open_socket(AF_INET6, SOCK_DGRAM);
        direct = open_socket(AF_INET, SOCK_DGRAM);
        ASSERT_EQ(connect_to(pinned.get(), {"10.96.0.10", 80}), 0);
        ASSERT_EQ(connect_to(mapped.get(), SockAddr("10.96.0.10", 80, true)), 0);
        ASSERT_EQ(connect_to(direct.get(), {"127.0.0.1", 8080}), 0);
    });
    ASSERT_EQ(send_text(pinned.get(), "x"), 0);
    ASSERT_EQ(send_text(mapped.get(), "x"), 0);
    desired = state({service({"dns", {"10.96.0.10"}, {"127.0.0.2"}, IPPROTO_UDP, true})}, rules);
    const auto applied = reconciler.apply(desired);
    ASSERT_TRUE(applied.has_value());
    ASSERT_EQ(applied->removed_udp_backends.size(), 1u);
    const auto connections =
        bpf::read_connections(datapath->program_fd("weft_conn_iter").value(), datapath->map_fd("weft_socket").value());
    ASSERT_TRUE(connections.has_value());
    const auto stale = bpf::stale_udp_sockets(*connections, applied->removed_udp_backends);
    ASSERT_EQ(stale.size(), 2u);
    auto reaper = bpf::UdpReaper::by_netlink();
    const auto reaped = reaper.reap(stale, {{netns.cookie(), netns.path()}});
    EXPECT_TRUE(reaped.errors.empty()) << reaped.errors.front().message();
    EXPECT_EQ(reaped.destroyed, 2u);
    for (const UniqueFd* gone : {&pinned, &mapped}) {
        EXPECT_EQ(receive(gone->get()).first, "!ECONNABORTED") << "a waiting reader is woken";
        EXPECT_EQ(send_text(gone->get(), "x"), EDESTADDRREQ);
    }
    EXPECT_EQ(send_text(direct.get(), "x"), 0) << "what was not translated lives on";
    EXPECT_EQ(reaper.reap(stale, {{netns.cookie(), netns.path()}}).already_gone, 2u);
    netns.run([&] { ASSERT_EQ(connect_to(pinned.get(), {"10.96.0.10", 80}), 0) << "the application connects anew"; });
}

TEST_F(DatapathLife, CookieOfANamespaceByPath) {
    EXPECT_EQ(bpf::netns_cookie(netns.path()).value(), netns.cookie());
    EXPECT_EQ(bpf::netns_cookie("/run/netns/weft-none").error().code(), ENOENT);
}

} // namespace
} // namespace weft::test
