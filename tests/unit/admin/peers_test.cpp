// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Where is a relay sent, and does it learn of changes?
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/admin/peers.hpp"
#include "tests/unit/admin/world.hpp"

namespace weft::admin {
namespace {

using Addresses = std::map<std::string, std::string>;

std::shared_ptr<const store::Snapshot> nodes(const Addresses& all) {
    auto table = std::make_shared<store::Table<k8s::Node>>();
    for (const auto& [name, ip] : all) {
        k8s::Node node;
        node.meta.name = name;
        if (!ip.empty()) {
            node.addresses = {*Ip::parse(ip)};
        }
        table->insert_or_assign({"", name}, std::make_shared<const k8s::Node>(node));
    }
    auto out = std::make_shared<store::Snapshot>();
    out->nodes = table;
    return out;
}

Addresses told(const Addresses& all, const Reach& reach) {
    Addresses out;
    for (const auto& [name, one] : peers_of(*nodes(all), "node-a", reach)) {
        out[name] = one.address() + (one.has_tls() ? " " + one.tls().server_name() : "");
    }
    return out;
}

TEST(Peers, AreOnlyThisNodesSocketWithoutAListener) {
    EXPECT_EQ(told({{"node-a", "192.0.2.1"}, {"node-b", "192.0.2.2"}}, {.socket_path = "/run/weft/admin.sock"}),
              (Addresses{{"node-a", "unix:///run/weft/admin.sock"}}));
}

TEST(Peers, AreAllNodesOnTheSamePort) {
    const Addresses all{{"node-a", "192.0.2.1"}, {"node-b", "2001:db8::2"}, {"node-c", ""}};
    const Addresses expected{{"node-a", "192.0.2.1:4244 node-a"}, {"node-b", "[2001:db8::2]:4244 node-b"}};
    EXPECT_EQ(told(all, {.host = "0.0.0.0", .port = 4244, .tls = true}), expected);
    EXPECT_EQ(told(all, {.host = "", .port = 4244, .tls = true}), expected);
    EXPECT_EQ(told(all, {.host = "192.0.2.77", .port = 1})["node-a"], "192.0.2.77:1");
    EXPECT_EQ(told(all, {.host = "127.0.0.1", .port = 1}), (Addresses{{"node-a", "127.0.0.1:1"}}))
        << "nobody else is reached on loopback, so nobody else listens there for us";
}

TEST(Peers, TellsWhatChanges) {
    class View final : public AgentView {
    public:
        mutable std::size_t asked = 0;
        std::vector<std::shared_ptr<const store::Snapshot>> all;
        admin_test::FixedView rest;
        [[nodiscard]] std::shared_ptr<const store::Snapshot> snapshot() const override {
            return all[std::min(asked++, all.size() - 1)];
        }
        [[nodiscard]] std::shared_ptr<const compiler::DesiredState> desired() const override { return rest.desired(); }
        [[nodiscard]] AgentHealth health() const override { return rest.health(); }
        [[nodiscard]] Result<std::vector<MapHealth>> maps() const override { return rest.maps(); }
        [[nodiscard]] Result<Counters> counters() const override { return rest.counters(); }
        [[nodiscard]] Result<std::vector<weft_conn>> connections() const override { return rest.connections(); }
        [[nodiscard]] Result<std::vector<RawEntry>> dump_map(const std::string& name) const override {
            return rest.dump_map(name);
        }
    };
    View view;
    view.all = {nodes({{"node-a", "192.0.2.1"}, {"node-b", "192.0.2.2"}}),
                nodes({{"node-a", "192.0.2.1"}, {"node-b", "192.0.2.3"}}), nodes({{"node-a", "192.0.2.1"}})};
    std::vector<std::string> got;
    stream_peers(
        view, {.port = 4244},
        [&](const peer::ChangeNotification& one) {
            got.push_back(peer::ChangeNotificationType_Name(one.type()) + " " + one.name() + " " + one.address());
            return got.size() < 4;
        },
        [] { return true; });
    EXPECT_THAT(got, testing::ElementsAre("PEER_ADDED node-a 192.0.2.1:4244", "PEER_ADDED node-b 192.0.2.2:4244",
                                          "PEER_UPDATED node-b 192.0.2.3:4244", "PEER_DELETED node-b 192.0.2.3:4244"));
}

} // namespace
} // namespace weft::admin
