// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A SPIFFE Workload API server on a unix socket, and the source that follows it.
#include "agent/identity/workload_api_source.hpp"

#include <gtest/gtest.h>

#include "agent/identity/rotator.hpp"
#include "tests/unit/ca/world.hpp"
#include "tests/unit/identity/api_server.hpp"
#include "tests/unit/identity/small_pki.hpp"

namespace weft::identity {
namespace {

using ca::test::eventually;
using ca::test::TemporaryFolder;
using test::ApiServer;
using test::Material;
using test::SmallPki;

const SpiffeId kWeb{"cluster.local", "shop", "web"};

class WorkloadApiTest : public testing::Test {
protected:
    void start() {
        auto source = open_workload_api_source("unix://" + files_.path("api.sock"));
        ASSERT_TRUE(source.has_value()) << source.error().message();
        KeeperOptions options;
        options.first_pause = std::chrono::milliseconds(10);
        options.longest_pause = std::chrono::milliseconds(50);
        keeper_ = std::make_unique<Keeper>(std::move(*source), nullptr, options);
        keeper_->set_wanted({kWeb});
        rotator_ = std::make_unique<Rotator>(*keeper_);
    }
    X509SVIDResponse response(const Material& material) const {
        X509SVIDResponse out;
        auto& other = *out.add_svids(); // SPIRE gives what its registrations say, also other shapes
        other.set_spiffe_id("spiffe://cluster.local/spire/agent");
        auto& one = *out.add_svids();
        one.set_spiffe_id(kWeb.to_string());
        one.set_x509_svid(material.chain_der());
        one.set_x509_svid_key(material.key_der());
        one.set_bundle(pki_.root_der());
        return out;
    }
    std::string serial() {
        const auto got = keeper_->credentials(kWeb);
        return got ? ktls::serial_of((*got)->chain.front().get()) : got.error().message();
    }
    std::string why() {
        const auto troubles = keeper_->troubles();
        const auto states = keeper_->states();
        return (troubles.empty() ? "" : troubles.front()) + (states.empty() ? "" : states.front().last_error);
    }

    SmallPki pki_;
    TemporaryFolder files_;
    std::unique_ptr<Keeper> keeper_;
    std::unique_ptr<Rotator> rotator_;
};

TEST_F(WorkloadApiTest, TakesWhatIsPushedWithFederatedBundles) {
    ApiServer server(files_.path("api.sock"));
    const SmallPki bank("bank.example");
    const auto first = pki_.issue(kWeb.to_string());
    auto answer = response(first);
    (*answer.mutable_federated_bundles())["spiffe://bank.example"] = bank.root_der();
    server.give(answer);
    start();
    ASSERT_TRUE(eventually([&] { return serial() == first.serial(); })) << serial();
    EXPECT_TRUE((*keeper_->credentials(kWeb))->roots.contains("bank.example"));
    const auto second = pki_.issue(kWeb.to_string());
    server.give(response(second));
    EXPECT_TRUE(eventually([&] { return serial() == second.serial(); }));
    EXPECT_TRUE(eventually([&] { return !(*keeper_->credentials(kWeb))->roots.contains("bank.example"); }))
        << "each answer replaces the one before";
}

TEST_F(WorkloadApiTest, WaitsForAServerAndForAnIdentity) {
    start();
    EXPECT_TRUE(eventually([&] { return keeper_->credentials(kWeb).error().code() == ENOKEY && !why().empty(); }));
    ApiServer server(files_.path("api.sock"));
    EXPECT_TRUE(eventually([&] { return why().contains("no identity issued"); })) << why();
    const auto material = pki_.issue(kWeb.to_string());
    server.give(response(material));
    EXPECT_TRUE(eventually([&] { return serial() == material.serial(); })) << why();
}

TEST_F(WorkloadApiTest, ServerThatGoesAwayLeavesWhatItGave) {
    ApiServer server(files_.path("api.sock"));
    const auto first = pki_.issue(kWeb.to_string());
    server.give(response(first));
    start();
    ASSERT_TRUE(eventually([&] { return serial() == first.serial(); }));
    server.stop();
    EXPECT_TRUE(eventually([&] { return !keeper_->troubles().empty(); }));
    EXPECT_EQ(serial(), first.serial());
    const auto second = pki_.issue(kWeb.to_string());
    server.give(response(second));
    server.start();
    EXPECT_TRUE(eventually([&] { return serial() == second.serial(); })) << why();
    EXPECT_TRUE(eventually([&] { return keeper_->troubles().empty(); })) << why();
}

TEST_F(WorkloadApiTest, BadAnswersKeepTheLastGoodOne) {
    ApiServer server(files_.path("api.sock"));
    const auto good = pki_.issue(kWeb.to_string());
    server.give(response(good));
    start();
    ASSERT_TRUE(eventually([&] { return serial() == good.serial(); }));
    auto garbage = response(good);
    garbage.mutable_svids(1)->set_x509_svid("no DER");
    server.give(garbage);
    EXPECT_TRUE(eventually([&] { return why().contains("certificate 1 in DER"); })) << why();
    auto foreign_key = response(good);
    foreign_key.mutable_svids(1)->set_x509_svid_key(pki_.issue(kWeb.to_string()).key_der());
    server.give(foreign_key);
    EXPECT_TRUE(eventually([&] { return why().contains("the key is not the certificate's"); })) << why();
    auto other_name = response(pki_.issue("spiffe://cluster.local/ns/shop/sa/admin"));
    server.give(other_name);
    EXPECT_TRUE(eventually([&] { return why().contains("is for spiffe://cluster.local/ns/shop/sa/admin"); })) << why();
    EXPECT_EQ(serial(), good.serial());
}

TEST_F(WorkloadApiTest, SocketMustBeAPath) {
    EXPECT_EQ(open_workload_api_source("tcp://127.0.0.1:1").error().code(), EINVAL);
    EXPECT_EQ(open_workload_api_source("").error().code(), EINVAL);
}

} // namespace
} // namespace weft::identity
