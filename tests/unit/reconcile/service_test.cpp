// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Do Services reach the maps whole, in an order that no connect can see half of, and leave nothing behind?
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/reconcile/reconciler.hpp"
#include "states.hpp"

namespace weft::test {
namespace {

using reconcile::Reconciler;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Backends = std::set<std::string>;

reconcile::ApplyStats apply(Reconciler& reconciler, const compiler::DesiredState& desired) {
    auto applied = reconciler.apply(desired);
    EXPECT_TRUE(applied.has_value()) << (applied ? "" : applied.error().message());
    return applied.value_or(reconcile::ApplyStats{});
}

class Services : public testing::Test {
protected:
    void SetUp() override { ASSERT_TRUE(reconciler.bind(kernel.maps).has_value()); }

    std::size_t size(const std::shared_ptr<bpf::MapIo>& map) { return FakeKernel::fake(map).entries.size(); }

    FakeKernel kernel;
    Reconciler reconciler{[] {}};
};

TEST_F(Services, SecondApplyOfTheSameStateWritesNothing) {
    const auto desired = state({service({"a", {"10.96.0.1"}, {"10.0.0.1", "10.0.0.2"}})});
    EXPECT_TRUE(apply(reconciler, desired).failures.empty());
    EXPECT_EQ(resolve(kernel, at("10.96.0.1", 80)), (Backends{"10.0.0.1", "10.0.0.2"}));
    const std::size_t before = kernel.watch.writes;
    const auto again = apply(reconciler, desired);
    EXPECT_EQ(kernel.watch.writes, before);
    EXPECT_EQ(again.written + again.removed, 0u);
    EXPECT_FALSE(again.revision_bumped);
}

TEST_F(Services, EveryStepOfAChangeShowsTheOldOrTheNewBackends) {
    apply(reconciler,
          state({service({"a", {"10.96.0.1", "fd00::1"}, {"10.0.0.1", "10.0.0.2"}, IPPROTO_TCP, true, true})}));
    const Backends before{"10.0.0.1", "10.0.0.2"};
    const Backends after{"10.0.0.2", "10.0.0.3", "10.0.0.4"};
    std::size_t steps = 0;
    kernel.watch.after = [&](const std::string& map) {
        ++steps;
        for (const char* frontend : {"10.96.0.1", "fd00::1"}) {
            EXPECT_THAT(resolve(kernel, at(frontend, 80), true), AnyOf(before, after))
                << "after write " << steps << " to " << map;
        }
    };
    const auto stats = apply(
        reconciler,
        state(
            {service({"a", {"10.96.0.1", "fd00::1"}, {"10.0.0.2", "10.0.0.3", "10.0.0.4"}, IPPROTO_TCP, true, true})}));
    EXPECT_GT(steps, 2u * WEFT_MAGLEV_CHUNKS);
    EXPECT_EQ(stats.services_changed, 1u);
    EXPECT_EQ(resolve(kernel, at("10.96.0.1", 80), true), after);
    EXPECT_EQ(size(kernel.maps.slot), 3u);
    EXPECT_EQ(size(kernel.maps.maglev), std::size_t{WEFT_MAGLEV_CHUNKS});
    EXPECT_EQ(size(kernel.maps.member), 3u);
}

TEST_F(Services, RemovedFrontendGoesBeforeItsBackends) {
    apply(reconciler, state({service({"a", {"10.96.0.1"}, {"10.0.0.1"}, IPPROTO_TCP, true, true})}));
    kernel.watch.after = [&](const std::string& map) {
        EXPECT_THAT(resolve(kernel, at("10.96.0.1", 80), true), AnyOf(Backends{"10.0.0.1"}, Backends{"none"})) << map;
    };
    apply(reconciler, state({}));
    for (const auto& [map, entries] : kernel.contents()) {
        EXPECT_THAT(entries, IsEmpty()) << map;
    }
}

TEST_F(Services, ASharedSetIsWrittenOnceAndStaysForItsLastUser) {
    const auto a = service({"a", {"10.96.0.1"}, {"10.0.0.1"}});
    const auto b = service({"b", {"10.96.0.2"}, {"10.0.0.1"}});
    ASSERT_EQ(a->set_id, b->set_id);
    apply(reconciler, state({a, b}));
    EXPECT_EQ(size(kernel.maps.slot), 1u);
    apply(reconciler, state({b}));
    EXPECT_EQ(resolve(kernel, at("10.96.0.2", 80)), (Backends{"10.0.0.1"}));
    EXPECT_EQ(resolve(kernel, at("10.96.0.1", 80)), (Backends{"none"}));
    apply(reconciler, state({}));
    EXPECT_EQ(size(kernel.maps.slot), 0u);
}

TEST_F(Services, AnAddressMovesFromOneServiceToAnotherWithoutAGap) {
    apply(reconciler, state({service({"a", {"10.96.0.1"}, {"10.0.0.1"}})}));
    kernel.watch.after = [&](const std::string&) {
        EXPECT_THAT(resolve(kernel, at("10.96.0.1", 80)), AnyOf(Backends{"10.0.0.1"}, Backends{"10.0.0.9"}));
    };
    apply(reconciler, state({service({"b", {"10.96.0.1"}, {"10.0.0.9"}})}));
    EXPECT_EQ(resolve(kernel, at("10.96.0.1", 80)), (Backends{"10.0.0.9"}));
    EXPECT_EQ(size(kernel.maps.slot), 1u);
}

TEST_F(Services, ServiceWithoutBackendsRefuses) {
    apply(reconciler, state({service({"a", {"10.96.0.1"}, {"10.0.0.1"}})}));
    apply(reconciler, state({service({"a", {"10.96.0.1"}, {}})}));
    EXPECT_EQ(resolve(kernel, at("10.96.0.1", 80)), (Backends{"refused"}));
    EXPECT_EQ(size(kernel.maps.slot), 0u);
}

TEST_F(Services, RemovedUdpBackendsAreNamed) {
    const auto spec = [](std::vector<std::string> backends) {
        return service({"dns", {"10.96.0.10"}, std::move(backends), IPPROTO_UDP, true});
    };
    EXPECT_THAT(apply(reconciler, state({spec({"10.0.0.1", "10.0.0.2"})})).removed_udp_backends, IsEmpty());
    const auto one = apply(reconciler, state({spec({"10.0.0.2", "10.0.0.3"})}));
    ASSERT_THAT(one.removed_udp_backends, SizeIs(1));
    EXPECT_EQ(to_string(one.removed_udp_backends[0].backend), "UDP 10.0.0.1:8080");
    EXPECT_EQ(one.removed_udp_backends[0].service, spec({})->service_id);
    EXPECT_THAT(apply(reconciler, state({})).removed_udp_backends, SizeIs(2));
    EXPECT_EQ(size(kernel.maps.member), 0u);
}

TEST_F(Services, UdpBackendsThatGoWithAMoveToLargerMapsAreNamed) {
    apply(reconciler, state({service({"dns", {"10.96.0.10"}, {"10.0.0.1", "10.0.0.2"}, IPPROTO_UDP, true})}));
    FakeKernel larger;
    ASSERT_TRUE(reconciler.bind(larger.maps).has_value());
    const auto moved =
        apply(reconciler, state({service({"dns", {"10.96.0.10"}, {"10.0.0.2", "10.0.0.3"}, IPPROTO_UDP, true})}));
    ASSERT_THAT(moved.removed_udp_backends, SizeIs(1));
    EXPECT_EQ(to_string(moved.removed_udp_backends[0].backend), "UDP 10.0.0.1:8080");
    EXPECT_EQ(resolve(larger, at("10.96.0.10", 80, IPPROTO_UDP), true), (Backends{"10.0.0.2", "10.0.0.3"}));
}

TEST_F(Services, OneChangeAmongManyWritesOnlyThatOne) {
    std::vector<std::shared_ptr<const compiler::ServiceFragment>> all;
    for (int i = 0; i < 2000; ++i) {
        all.push_back(service({fmt::format("s{}", i),
                               {fmt::format("10.96.{}.{}", i / 250, i % 250)},
                               {fmt::format("10.0.{}.{}", i / 250, i % 250)}}));
    }
    apply(reconciler, state(all));
    all[7] = service({"s7", {"10.96.0.7"}, {"10.1.0.1"}});
    auto desired = state(all);
    const std::size_t before = kernel.watch.writes;
    const auto stats = apply(reconciler, desired);
    EXPECT_EQ(stats.services_changed, 1u);
    EXPECT_LE(kernel.watch.writes - before, 4u); // slot, frontend, old slot, revision (another policy image)
}

// Whatever write fails, each Service is wholly as before or wholly new, and the next round completes the change.
TEST_F(Services, AFaultAtAnyWriteLeavesNoHalfService) {
    const auto old_state =
        state({service({"a", {"10.96.0.1", "fd00::1"}, {"10.0.0.1", "10.0.0.2"}, IPPROTO_UDP, true, true}),
               service({"b", {"10.96.0.2"}, {"10.0.0.5"}}), service({"gone", {"10.96.0.3"}, {"10.0.0.6"}})});
    const auto new_state =
        state({service({"a", {"10.96.0.1", "fd00::2"}, {"10.0.0.2", "10.0.0.3"}, IPPROTO_UDP, true, true}),
               service({"b", {"10.96.0.2"}, {"10.0.0.5", "10.0.0.7"}}), service({"new", {"10.96.0.4"}, {"10.0.0.8"}})});
    FakeKernel ideal;
    Reconciler writer([] {});
    ASSERT_TRUE(writer.bind(ideal.maps).has_value());
    apply(writer, new_state);

    std::size_t faults = 0;
    for (std::size_t fault = 0;; ++fault) {
        FakeKernel faulty;
        Reconciler subject([] {});
        ASSERT_TRUE(subject.bind(faulty.maps).has_value());
        apply(subject, old_state);
        std::size_t write = 0;
        bool hit = false;
        faulty.watch.before = [&](const std::string& map) -> std::optional<Error> {
            if (write++ != fault || map == "weft_config") {
                return std::nullopt;
            }
            hit = true;
            return Error(ENOMEM, "injected into " + map);
        };
        const auto check = [&] {
            const auto udp = IPPROTO_UDP;
            EXPECT_THAT(resolve(faulty, at("10.96.0.1", 80, udp), true),
                        AnyOf(Backends{"10.0.0.1", "10.0.0.2"}, Backends{"10.0.0.2", "10.0.0.3"}));
            EXPECT_THAT(resolve(faulty, at("fd00::1", 80, udp), true),
                        AnyOf(Backends{"10.0.0.1", "10.0.0.2"}, Backends{"none"}));
            EXPECT_THAT(resolve(faulty, at("fd00::2", 80, udp), true),
                        AnyOf(Backends{"10.0.0.2", "10.0.0.3"}, Backends{"none"}));
            EXPECT_THAT(resolve(faulty, at("10.96.0.2", 80)),
                        AnyOf(Backends{"10.0.0.5"}, Backends{"10.0.0.5", "10.0.0.7"}));
            EXPECT_THAT(resolve(faulty, at("10.96.0.3", 80)), AnyOf(Backends{"10.0.0.6"}, Backends{"none"}));
            EXPECT_THAT(resolve(faulty, at("10.96.0.4", 80)), AnyOf(Backends{"10.0.0.8"}, Backends{"none"}));
        };
        faulty.watch.after = [&](const std::string&) { check(); };
        apply(subject, new_state);
        check();
        faulty.watch = {};
        if (write <= fault) {
            break; // beyond the last write
        }
        faults += hit;
        apply(subject, new_state);
        ASSERT_TRUE(subject.repair().has_value());
        EXPECT_EQ(faulty.contents(), ideal.contents()) << "fault at write " << fault;
        if (HasFailure()) {
            FAIL() << "fault at write " << fault;
        }
    }
    EXPECT_GT(faults, 2u * WEFT_MAGLEV_CHUNKS);
}

TEST(ServicesFull, AFullMapKeepsTheOldServiceAndLetsOthersGoOn) {
    FakeKernel kernel;
    kernel.make<weft_slot_key, weft_slot>(kernel.maps.slot, "weft_slot", 4);
    Reconciler reconciler([] {});
    ASSERT_TRUE(reconciler.bind(kernel.maps).has_value());
    apply(reconciler, state({service({"a", {"10.96.0.1"}, {"10.0.0.1", "10.0.0.2"}})}));
    const auto wide = service({"a", {"10.96.0.1"}, {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"}});
    const auto stats = apply(reconciler, state({wide, service({"b", {"10.96.0.2"}, {"10.0.0.9"}})}));
    ASSERT_THAT(stats.failures, SizeIs(1));
    EXPECT_EQ(stats.failures[0].object, "service default/a");
    EXPECT_EQ(stats.failures[0].map, "weft_slot");
    EXPECT_EQ(stats.failures[0].error.code(), E2BIG);
    EXPECT_THAT(stats.failures[0].error.message(), HasSubstr("stays as it was"));
    EXPECT_EQ(resolve(kernel, at("10.96.0.1", 80)), (Backends{"10.0.0.1", "10.0.0.2"}));
    EXPECT_EQ(resolve(kernel, at("10.96.0.2", 80)), (Backends{"10.0.0.9"}));
}

TEST(ServicesFull, RoomMadeInARoundIsUsedInThatRound) {
    FakeKernel kernel;
    kernel.make<weft_slot_key, weft_slot>(kernel.maps.slot, "weft_slot", 2);
    Reconciler reconciler([] {});
    ASSERT_TRUE(reconciler.bind(kernel.maps).has_value());
    apply(reconciler, state({service({"old", {"10.96.0.1"}, {"10.0.0.1", "10.0.0.2"}})}));
    const auto stats = apply(reconciler, state({service({"new", {"10.96.0.2"}, {"10.0.0.3", "10.0.0.4"}})}));
    EXPECT_THAT(stats.failures, IsEmpty());
    EXPECT_EQ(resolve(kernel, at("10.96.0.2", 80)), (Backends{"10.0.0.3", "10.0.0.4"}));
}

} // namespace
} // namespace weft::test
