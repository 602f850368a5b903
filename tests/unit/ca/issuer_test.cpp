// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Decisions of weft-ca without a network: tokens, who may have which certificate, revocation, rotation's conditions.
#include "agent/ca/issuer.hpp"

#include <gtest/gtest.h>

#include "agent/ca/pki/durable_file.hpp"
#include "agent/ca/pki/key.hpp"
#include "agent/ca/pki/names.hpp"
#include "tests/unit/ca/world.hpp"
#include "weft/ktls/credentials.hpp"

namespace weft::ca {
namespace {

using test::CaWorld;

constexpr const char* kWeb = "spiffe://cluster.local/ns/shop/sa/web";

std::string csr_for(const std::string& uri, EVP_PKEY* key = nullptr) {
    const auto own = pki::new_key();
    return *pki::make_csr(key != nullptr ? key : own->get(), uri);
}

std::string node_uri(const std::string& node) {
    return pki::NodeId{"cluster.local", node}.to_string();
}

Result<NodeCertificate> join(CaWorld& world, const std::string& token, const std::string& node,
                             EVP_PKEY* key = nullptr) {
    JoinRequest request;
    request.set_token(token);
    request.set_csr(csr_for(node_uri(node), key));
    return world.issuer().join(request, "peer");
}

Result<WorkloadCertificate> sign(CaWorld& world, const std::string& node, const std::string& uri = kWeb) {
    SignWorkloadRequest request;
    request.set_csr(csr_for(uri));
    return world.issuer().sign_workload(request, {node, "00", "peer"});
}

template <typename T>
std::string why(const Result<T>& result) {
    return result ? "allowed" : result.error().message();
}

std::string serial_of(const std::string& der) {
    return ktls::serial_of(pki::certificate_from_der(der)->get());
}

std::string pem_of(const std::string& der) {
    return *pki::pem_of(pki::certificate_from_der(der)->get());
}

class IssuerTest : public testing::Test {
protected:
    void SetUp() override { world_.start(); }
    void restart() {
        world_.stop();
        world_.start();
    }
    std::size_t revoke(const std::string& what, bool undo = false) {
        RevokeRequest request;
        request.set_what(what);
        request.set_undo(undo);
        const auto done = world_.issuer().revoke(request);
        EXPECT_TRUE(done.has_value()) << why(done);
        return done ? static_cast<std::size_t>(done->revocations_size()) : 0;
    }
    CaWorld world_;
};

TEST_F(IssuerTest, TokenCountsOnceForOneNodeAndOneKey) {
    const auto token = world_.token("n1").token();
    const auto key = pki::new_key();
    EXPECT_NE(why(join(world_, "weft-join-guessed", "n1")).find("unknown join token"), std::string::npos);
    ASSERT_TRUE(join(world_, token, "n1", key->get()).has_value());
    EXPECT_NE(why(join(world_, token, "n1")).find("was used before"), std::string::npos);
    EXPECT_TRUE(join(world_, token, "n1", key->get()).has_value()) << "the answer may have been lost on its way";
    restart();
    EXPECT_NE(why(join(world_, token, "n1")).find("was used before"), std::string::npos);
    const auto other = world_.token("n1").token();
    EXPECT_NE(why(join(world_, other, "n2")).find("is for node n1, not for n2"), std::string::npos);
    EXPECT_TRUE(join(world_, other, "n1").has_value()) << "a token that was given to the wrong node is not used up";
    EXPECT_GE(world_.audited({"\"refused\"", "was used before"}), 2U);
}

TEST_F(IssuerTest, TokenExpires) {
    const auto token = world_.token("n1", 60).token();
    world_.clock().advance(seconds(60));
    EXPECT_NE(why(join(world_, token, "n1")).find("expired"), std::string::npos);
    restart();
    EXPECT_NE(why(join(world_, token, "n1")).find("unknown"), std::string::npos) << "forgotten by then";
}

TEST_F(IssuerTest, TokensAreNotKeptInClear) {
    const auto token = world_.token("n1").token();
    const auto kept = pki::read_private(world_.folder() + "/tokens.json");
    ASSERT_TRUE(kept.has_value());
    EXPECT_EQ(kept->find(token), std::string::npos);
    EXPECT_EQ(kept->find(token.substr(token.size() - 32)), std::string::npos);
    EXPECT_EQ(world_.audited({token.substr(token.size() - 32)}), 0U);
}

TEST_F(IssuerTest, NodeGetsTheIdentitiesOfItsPodsOnly) {
    world_.schedule("n1", "shop", "web");
    world_.schedule("n2", "shop", "db");
    EXPECT_TRUE(sign(world_, "n1").has_value());
    EXPECT_EQ(sign(world_, "n1", "spiffe://cluster.local/ns/shop/sa/db").error().code(), EACCES);
    EXPECT_EQ(sign(world_, "n1", "spiffe://cluster.local/ns/other/sa/web").error().code(), EACCES);
    EXPECT_NE(why(sign(world_, "n1", "spiffe://bank.example/ns/shop/sa/web")).find("is not ours"), std::string::npos);
    EXPECT_EQ(sign(world_, "n1", node_uri("n1")).error().code(), EINVAL) << "a workload request names no node";
    EXPECT_EQ(sign(world_, "n1", "spiffe://cluster.local/weft-ca").error().code(), EINVAL);
    EXPECT_TRUE(sign(world_, "n2", "spiffe://cluster.local/ns/shop/sa/db").has_value());
    EXPECT_EQ(world_.audited({"\"refused\""}), 5U);
    EXPECT_EQ(world_.audited({"\"issued\""}), 2U);
}

TEST_F(IssuerTest, AFinishedOrRemovedPodGivesNothing) {
    world_.schedule("n1", "shop", "web");
    ASSERT_TRUE(sign(world_, "n1").has_value());
    world_.files().write("manifests/n1-shop-web.yaml",
                         test::pod_yaml("n1", "shop", "web") + "status: {phase: Succeeded}\n", 0644);
    EXPECT_EQ(sign(world_, "n1").error().code(), EACCES);
    world_.schedule("n1", "shop", "web");
    EXPECT_TRUE(sign(world_, "n1").has_value());
    std::filesystem::remove(world_.files().path("manifests/n1-shop-web.yaml"));
    EXPECT_EQ(sign(world_, "n1").error().code(), EACCES);
}

TEST_F(IssuerTest, AuthenticationTakesNodesOnly) {
    const auto node = join(world_, world_.token("n1").token(), "n1");
    ASSERT_TRUE(node.has_value());
    const auto known = world_.issuer().authenticate(pem_of(node->chain(0)), "peer");
    ASSERT_TRUE(known.has_value()) << why(known);
    EXPECT_EQ(known->node, "n1");
    world_.schedule("n1", "shop", "web");
    const auto workload = sign(world_, "n1");
    EXPECT_EQ(world_.issuer().authenticate(pem_of(workload->chain(0)), "peer").error().code(), EKEYREJECTED);
    EXPECT_EQ(world_.issuer().authenticate("", "peer").error().code(), EKEYREJECTED);
    CaWorld other;
    other.start();
    const auto foreign = join(other, other.token("n1").token(), "n1");
    EXPECT_EQ(world_.issuer().authenticate(pem_of(foreign->chain(0)), "peer").error().code(), EKEYREJECTED)
        << "another authority's node of the same name";
    world_.clock().advance(std::chrono::days(8));
    EXPECT_EQ(world_.issuer().authenticate(pem_of(node->chain(0)), "peer").error().code(), EKEYEXPIRED);
}

TEST_F(IssuerTest, RenewalIsForTheNodeItself) {
    RenewNodeRequest request;
    request.set_csr(csr_for(node_uri("n2")));
    EXPECT_NE(why(world_.issuer().renew_node(request, {"n1", "00", "p"})).find("its own certificate only"),
              std::string::npos);
    request.set_csr(csr_for(node_uri("n1")));
    EXPECT_TRUE(world_.issuer().renew_node(request, {"n1", "00", "p"}).has_value());
}

TEST_F(IssuerTest, RevokedIdentityHasNoNewCertificateUntilItIsTakenBack) {
    world_.schedule("n1", "shop", "web");
    const auto first = sign(world_, "n1");
    ASSERT_TRUE(first.has_value());
    const auto version = world_.issuer().bundle().version();
    EXPECT_EQ(revoke(kWeb), 2U) << "the identity and its one certificate";
    EXPECT_EQ(world_.issuer().bundle().version(), version + 1);
    EXPECT_EQ(revoke(kWeb), 0U);
    EXPECT_NE(why(sign(world_, "n1")).find("is revoked"), std::string::npos);
    restart();
    EXPECT_NE(why(sign(world_, "n1")).find("is revoked"), std::string::npos);
    EXPECT_EQ(revoke(kWeb, true), 1U);
    EXPECT_TRUE(sign(world_, "n1").has_value());
    const auto bundle = world_.issuer().bundle();
    ASSERT_EQ(bundle.revocations_size(), 1);
    EXPECT_EQ(bundle.revocations(0).serial(), serial_of(first->chain(0))) << "the old certificate stays out";
}

TEST_F(IssuerTest, RevokedSerialIsForgottenWhenItsCertificateExpires) {
    world_.schedule("n1", "shop", "web");
    const auto serial = serial_of(sign(world_, "n1")->chain(0));
    RevokeRequest unknown;
    unknown.set_what("ABCDEF");
    EXPECT_EQ(world_.issuer().revoke(unknown).error().code(), ENOENT);
    EXPECT_EQ(revoke(serial), 1U);
    EXPECT_EQ(world_.issuer().bundle().revocations_size(), 1);
    world_.clock().advance(std::chrono::hours(25));
    ASSERT_TRUE(world_.issuer().tick().has_value());
    EXPECT_EQ(world_.issuer().bundle().revocations_size(), 0);
}

TEST_F(IssuerTest, RevokedNodeTakesItsWorkloadsAlong) {
    world_.schedule("n1", "shop", "web");
    world_.schedule("n2", "shop", "web");
    const auto node = join(world_, world_.token("n1").token(), "n1");
    ASSERT_TRUE(node && sign(world_, "n1") && sign(world_, "n2"));
    const auto pem = pem_of(node->chain(0));
    const auto token = world_.token("n1").token();
    EXPECT_EQ(revoke(node_uri("n1")), 3U) << "the node, its certificate, and the workload's that it asked for";
    EXPECT_EQ(world_.issuer().authenticate(pem, "peer").error().code(), EKEYREVOKED);
    EXPECT_NE(why(join(world_, token, "n1")).find("is revoked"), std::string::npos);
    CreateTokenRequest request;
    request.set_node("n1");
    EXPECT_EQ(world_.issuer().create_token(request).error().code(), EACCES);
}

TEST_F(IssuerTest, RootSignsOnlyWhenAllNodesTrustIt) {
    const auto joined = join(world_, world_.token("n1").token(), "n1");
    ASSERT_TRUE(joined.has_value());
    const Caller caller{"n1", serial_of(joined->chain(0)), "peer"};
    world_.schedule("n1", "shop", "web");
    ASSERT_TRUE(sign(world_, "n1").has_value());
    ASSERT_EQ(world_.rotate(RotateRequest::STEP_PUBLISH), "");
    EXPECT_NE(world_.rotate(RotateRequest::STEP_SWITCH).find("n1"), std::string::npos);
    world_.issuer().acknowledge(caller, world_.issuer().bundle().version() + 1000);
    EXPECT_NE(world_.rotate(RotateRequest::STEP_SWITCH), "") << "no node knows the future";
    world_.issuer().acknowledge(caller, world_.issuer().bundle().version());
    ASSERT_EQ(world_.rotate(RotateRequest::STEP_SWITCH), "");
    EXPECT_NE(world_.rotate(RotateRequest::STEP_RETIRE).find("in use"), std::string::npos);
    ASSERT_TRUE(sign(world_, "n1").has_value());
    EXPECT_NE(world_.rotate(RotateRequest::STEP_RETIRE).find("in use"), std::string::npos) << "the node's own";
    RenewNodeRequest renewal;
    renewal.set_csr(csr_for(node_uri("n1")));
    ASSERT_TRUE(world_.issuer().renew_node(renewal, caller).has_value());
    EXPECT_EQ(world_.rotate(RotateRequest::STEP_RETIRE), "");
    EXPECT_EQ(world_.issuer().bundle().roots_size(), 1);
}

TEST_F(IssuerTest, IntermediateIsRenewedAtHalfOfItsLife) {
    ASSERT_TRUE(world_.issuer().tick().has_value());
    const auto before = world_.issuer().show()->intermediate().serial();
    world_.clock().advance(std::chrono::days(183));
    ASSERT_TRUE(world_.issuer().tick().has_value());
    EXPECT_NE(world_.issuer().show()->intermediate().serial(), before);
}

TEST_F(IssuerTest, TooManyRequestsAreRefused) {
    std::size_t limited = 0;
    for (int i = 0; i < 30; ++i) {
        limited += why(join(world_, "weft-join-guess", "n1")).find("too many") != std::string::npos ? 1U : 0U;
    }
    EXPECT_GT(limited, 10U);
    EXPECT_LE(world_.audited({"\"refused\""}), 30U - limited) << "who is told to wait must not fill the disk";
    JoinRequest long_one;
    long_one.set_token(std::string(5000, 'x'));
    EXPECT_EQ(world_.issuer().join(long_one, "other peer").error().code(), EMSGSIZE);
}

} // namespace
} // namespace weft::ca
