// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A node and a weft-ca, over real TLS on loopback: joining, workloads' certificates, rotation, revocation.
#include "agent/identity/ca_source.hpp"

#include <array>
#include <atomic>
#include <filesystem>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "agent/ca/pki/chain.hpp"
#include "agent/ca/pki/csr.hpp"
#include "agent/ca/pki/durable_file.hpp"
#include "agent/ca/pki/key.hpp"
#include "agent/identity/ca_channel.hpp"
#include "agent/identity/rotator.hpp"
#include "ca.grpc.pb.h"
#include "tests/unit/ca/world.hpp"
#include "weft/ktls/context.hpp"

namespace weft::identity {
namespace {

using ca::test::CaWorld;
using ca::test::eventually;
using ca::test::TemporaryFolder;

const SpiffeId kWeb{"cluster.local", "shop", "web"};

/// A node's agent, as far as identities go.
class Node {
public:
    Node(CaWorld& world, std::string name, bool with_token = true) : world_(world), name_(std::move(name)) {
        if (with_token) {
            use_token(world.token(name_));
        }
    }
    void use_token(const ca::CreateTokenResponse& token) {
        files_.write("token", token.token() + "\n");
        fingerprint_ = token.fingerprint();
    }
    void start(std::set<SpiffeId> wanted = {kWeb}) {
        auto source = open_ca_source({world_.address(), "cluster.local", name_, files_.path("state"),
                                      files_.path("token"), fingerprint_, world_.clock().reader()});
        ASSERT_TRUE(source.has_value()) << source.error().message();
        KeeperOptions options;
        options.first_pause = std::chrono::milliseconds(20);
        options.longest_pause = std::chrono::milliseconds(200);
        options.rotation_spread = std::chrono::milliseconds(50);
        options.wall = world_.clock().reader();
        keeper_ = std::make_unique<Keeper>(std::move(*source), nullptr, options);
        keeper_->set_wanted(std::move(wanted));
        keeper_->on_identity([this](const SpiffeId&) { ++told; });
        rotator_ = std::make_unique<Rotator>(*keeper_);
    }
    void stop() {
        rotator_.reset();
        keeper_.reset();
    }
    std::atomic<int> told = 0; ///< changes of identities
    [[nodiscard]] Keeper& keeper() { return *keeper_; }
    [[nodiscard]] Rotator& rotator() { return *rotator_; }
    [[nodiscard]] bool has(const SpiffeId& id = kWeb) { return keeper_->credentials(id).has_value(); }
    [[nodiscard]] std::string serial(const SpiffeId& id = kWeb) {
        const auto got = keeper_->credentials(id);
        return got ? ktls::serial_of((*got)->chain.front().get()) : std::string();
    }
    [[nodiscard]] std::string why() {
        const auto troubles = keeper_->troubles();
        const auto states = keeper_->states();
        return (troubles.empty() ? "" : troubles.front()) + (states.empty() ? "" : states.front().last_error);
    }
    [[nodiscard]] TemporaryFolder& files() { return files_; }

private:
    CaWorld& world_;
    std::string name_;
    std::string fingerprint_;
    TemporaryFolder files_;
    std::unique_ptr<Keeper> keeper_;
    std::unique_ptr<Rotator> rotator_;
};

TEST(CaSource, JoinsAndGetsTheCertificatesOfItsPods) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    const auto credentials = *node.keeper().credentials(kWeb);
    EXPECT_EQ(*ktls::spiffe_id_of(credentials->chain.front().get()), kWeb);
    EXPECT_EQ(credentials->chain.size(), 2U);
    const auto context = ktls::Context::create(*credentials);
    ASSERT_TRUE(context.has_value()) << context.error().message();
    EXPECT_EQ((*context)->id(), kWeb);
    EXPECT_EQ(world.audited({"\"issued\"", "workload", kWeb.to_string(), "\"n1\""}), 1U);
}

TEST(CaSource, PodOfAnotherNodeIsRefused) {
    CaWorld world;
    world.start();
    world.schedule("n2", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.why().contains("is scheduled on node n1"); })) << node.why();
    EXPECT_FALSE(node.has());
    EXPECT_GE(world.audited({"\"refused\"", "workload", kWeb.to_string(), "\"n1\""}), 1U);
    world.schedule("n1", "shop", "web");
    EXPECT_TRUE(eventually([&] { return node.has(); })) << "it asks again: " << node.why();
}

TEST(CaSource, RenewsAtHalfLifeAndNotBefore) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    const auto first = node.serial();
    world.clock().advance(std::chrono::hours(10));
    node.rotator().wake();
    ASSERT_TRUE(eventually([&] { return node.keeper().states().at(0).phase == IdentityPhase::kValid; }));
    EXPECT_EQ(node.serial(), first);
    world.clock().advance(std::chrono::hours(4));
    node.rotator().wake();
    EXPECT_TRUE(eventually([&] { return node.has() && node.serial() != first; })) << node.why();
}

TEST(CaSource, ExpiresClosedWhileWeftCaIsAwayAndComesBack) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    world.stop();
    world.clock().advance(std::chrono::hours(14));
    node.rotator().wake();
    EXPECT_TRUE(eventually([&] { return node.keeper().states().at(0).phase == IdentityPhase::kFailing; }));
    EXPECT_TRUE(node.has()) << "valid until it expires";
    world.clock().advance(std::chrono::hours(11));
    EXPECT_EQ(node.keeper().credentials(kWeb).error().code(), EKEYEXPIRED) << "at once, whoever runs";
    EXPECT_EQ(node.keeper().states().at(0).phase, IdentityPhase::kExpired);
    world.start();
    EXPECT_TRUE(eventually([&] { return node.has(); })) << node.why();
}

TEST(CaSource, WhatAClockTookIsToldWhenTheClockGivesItBack) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    const auto first = node.serial();
    world.stop();
    for (const auto jump : {std::chrono::hours(25), std::chrono::hours(-25)}) {
        const int before = node.told;
        world.clock().advance(jump);
        node.rotator().wake();
        EXPECT_TRUE(eventually([&] { return node.told > before; })) << jump.count();
        EXPECT_EQ(node.has(), jump.count() < 0);
    }
    EXPECT_EQ(node.serial(), first);
}

TEST(CaSource, ClockThatWasAheadLeavesNothingFromTheFuture) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    const auto valid_now = [&] {
        node.rotator().wake();
        return node.has() && node.keeper().states().at(0).not_before <= world.clock().reader()();
    };
    for (const auto ahead : {std::chrono::hours(14), std::chrono::hours(100)}) { // a leaf's, and a node's half life
        const auto first = node.serial();
        const auto issued = world.audited({"\"issued\"", "workload"});
        world.clock().advance(ahead);
        node.rotator().wake();
        ASSERT_TRUE(eventually([&] { return node.has() && node.serial() != first; })) << node.why();
        world.clock().advance(-ahead);
        EXPECT_TRUE(eventually(valid_now)) << node.why();
        EXPECT_EQ(world.audited({"\"issued\"", "workload"}), issued + 2) << "once is enough";
    }
}

TEST(CaSource, ClockThatJumpsBeforeTheAuthoritysBirthLosesNothing) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    world.clock().advance(std::chrono::hours(-48));
    node.rotator().wake();
    EXPECT_TRUE(eventually([&] { return node.why().contains("not yet valid"); })) << node.why();
    EXPECT_TRUE(node.has()) << "others may have the right time";
    world.clock().advance(std::chrono::hours(48));
    node.rotator().wake();
    EXPECT_TRUE(eventually([&] { return node.keeper().states().at(0).phase == IdentityPhase::kValid; })) << node.why();
}

TEST(CaSource, RevocationReachesTheNodeAndIsTakenBack) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    const auto serial = node.serial();
    ca::RevokeRequest request;
    request.set_what(kWeb.to_string());
    const auto before = std::chrono::steady_clock::now();
    ASSERT_TRUE(world.issuer().revoke(request).has_value());
    EXPECT_TRUE(eventually([&] { return node.keeper().revoked(kWeb, serial); }));
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(5));
    EXPECT_EQ(node.keeper().credentials(kWeb).error().code(), EKEYREVOKED);
    request.set_undo(true);
    ASSERT_TRUE(world.issuer().revoke(request).has_value());
    EXPECT_TRUE(eventually([&] { return node.has(); })) << node.why();
    EXPECT_NE(node.serial(), serial);
    EXPECT_TRUE(node.keeper().revoked(kWeb, serial)) << "the old certificate stays out";
}

TEST(CaSource, RevokedSerialIsReplacedByANewCertificate) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    const auto serial = node.serial();
    ca::RevokeRequest request;
    request.set_what(serial);
    ASSERT_TRUE(world.issuer().revoke(request).has_value());
    EXPECT_TRUE(eventually([&] { return node.keeper().revoked(kWeb, serial) && node.has(); })) << node.why();
    EXPECT_NE(node.serial(), serial);
}

/// Whether `one` would believe the credentials of `other`, and the other way round.
bool believe_each_other(Node& one, Node& other, const SpiffeId& id_of_one, const SpiffeId& id_of_other) {
    const auto a = one.keeper().credentials(id_of_one);
    const auto b = other.keeper().credentials(id_of_other);
    const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    return a && b &&
           pki::verify_chain((*a)->chain, (*b)->roots.at("cluster.local"), pki::Purpose::kClient, now).has_value() &&
           pki::verify_chain((*b)->chain, (*a)->roots.at("cluster.local"), pki::Purpose::kServer, now).has_value();
}

TEST(CaSource, RootsRotateWhileTwoNodesBelieveEachOtherAtEveryMoment) {
    const SpiffeId db{"cluster.local", "shop", "db"};
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    world.schedule("n2", "shop", "db");
    Node web(world, "n1");
    Node store(world, "n2");
    web.start();
    store.start({db});
    const auto good = [&] { return believe_each_other(web, store, kWeb, db); };
    ASSERT_TRUE(eventually(good)) << web.why() << store.why();
    const auto old_web = web.serial();
    const auto old_db = store.serial(db);
    ASSERT_EQ(world.rotate(ca::RotateRequest::STEP_PUBLISH), "");
    ASSERT_TRUE(eventually([&] {
        EXPECT_TRUE(good());
        return world.rotate(ca::RotateRequest::STEP_SWITCH).empty();
    })) << "both nodes acknowledge the bundle";
    ASSERT_TRUE(world.server().tick().has_value());
    ASSERT_TRUE(eventually([&] {
        EXPECT_TRUE(good());
        return world.rotate(ca::RotateRequest::STEP_RETIRE).empty();
    })) << "both nodes renew what they have: "
        << world.rotate(ca::RotateRequest::STEP_RETIRE) << web.why();
    EXPECT_TRUE(good());
    EXPECT_NE(web.serial(), old_web);
    EXPECT_NE(store.serial(db), old_db);
    EXPECT_TRUE(eventually([&] {
        EXPECT_TRUE(good());
        const auto now = web.keeper().credentials(kWeb);
        return now && (*now)->roots.at("cluster.local").size() == 1;
    }));
    // A node that joins now pins the new root, and one that restarts knows it.
    world.schedule("n3", "shop", "web");
    Node late(world, "n3");
    late.start();
    EXPECT_TRUE(eventually([&] { return late.has(); })) << late.why();
    web.stop();
    web.start();
    EXPECT_TRUE(eventually([&] { return web.has(); })) << web.why();
}

TEST(CaSource, RestartsOfBothSidesNeedNoNewToken) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    const auto serial = node.serial();
    world.stop();
    world.start();
    ca::RevokeRequest request;
    request.set_what(serial);
    ASSERT_TRUE(world.issuer().revoke(request).has_value()) << "known after a restart";
    EXPECT_TRUE(eventually([&] { return node.keeper().revoked(kWeb, serial); })) << "the stream came back";
    node.stop();
    std::filesystem::remove(node.files().path("token"));
    node.start();
    EXPECT_TRUE(eventually([&] { return node.has(); })) << node.why();
    EXPECT_EQ(world.audited({"\"issued\"", "\"kind\":\"node\""}), 1U);
}

TEST(CaSource, KeepsNoKeyOfAWorkloadOnDisk) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    const auto secret = *pki::pem_of((*node.keeper().credentials(kWeb))->key.get());
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(node.files().path("state"))) {
        names.insert(entry.path().filename());
        const auto text = pki::read_private(entry.path()); // an error unless the mode is 0600
        ASSERT_TRUE(text.has_value()) << text.error().message();
        EXPECT_EQ(text->find(secret.substr(60, 60)), std::string::npos) << entry.path();
    }
    EXPECT_EQ(names, (std::set<std::string>{"node.pem", "roots.pem"}));
}

TEST(CaSource, BelievesOnlyThePinnedRootAndTheRightTrustDomain) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    auto token = world.token("n1");
    token.set_fingerprint(std::string(64, 'a'));
    node.use_token(token);
    node.start();
    EXPECT_TRUE(eventually([&] { return !node.why().empty(); }));
    EXPECT_FALSE(node.has());
    EXPECT_EQ(world.audited({"\"kind\":\"node\"", "\"issued\""}), 0U);
    EXPECT_EQ(world.issuer().show()->tokens_size(), 2) << "the token was not sent to a server that is not believed";
}

TEST(CaSource, UsedTokenIsWorthlessForAnotherMachine) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    const auto token = world.token("n1");
    Node node(world, "n1", false);
    node.use_token(token);
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    Node thief(world, "n1", false);
    thief.use_token(token);
    thief.start();
    EXPECT_TRUE(eventually([&] { return thief.why().contains("was used before"); })) << thief.why();
    EXPECT_FALSE(thief.has());
}

TEST(CaSource, RevokedNodeIsShutOut) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    ca::RevokeRequest request;
    request.set_what("spiffe://cluster.local/node/n1");
    ASSERT_TRUE(world.issuer().revoke(request).has_value());
    world.clock().advance(std::chrono::hours(14));
    node.rotator().wake();
    EXPECT_TRUE(eventually([&] { return node.why().contains("is revoked"); })) << node.why();
}

/// What comes of a TLS handshake with that highest version.
bool handshake_with(const std::string& address, int version) {
    const ktls::OsslPtr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_max_proto_version(context.get(), version);
    const ktls::OsslPtr<BIO> bio(BIO_new_ssl_connect(context.get()));
    SSL* ssl = nullptr;
    BIO_get_ssl(bio.get(), &ssl);
    const std::array<unsigned char, 3> h2{2, 'h', '2'};
    SSL_set_alpn_protos(ssl, h2.data(), h2.size());
    BIO_set_conn_hostname(bio.get(), address.c_str());
    return BIO_do_connect(bio.get()) == 1 && BIO_do_handshake(bio.get()) == 1;
}

TEST(CaServer, SpeaksTls13Only) {
    CaWorld world;
    world.start();
    EXPECT_TRUE(handshake_with(world.address(), TLS1_3_VERSION));
    EXPECT_FALSE(handshake_with(world.address(), TLS1_2_VERSION));
}

TEST(CaServer, WorkloadsCertificateOpensNoDoor) {
    CaWorld world;
    world.start();
    world.schedule("n1", "shop", "web");
    Node node(world, "n1");
    node.start();
    ASSERT_TRUE(eventually([&] { return node.has(); })) << node.why();
    const auto stolen = *node.keeper().credentials(kWeb);
    auto cell = std::make_shared<TrustCell>();
    cell->set(node.keeper().trust());
    std::string chain;
    for (const auto& one : stolen->chain) {
        chain += *pki::pem_of(one.get());
    }
    const auto ask = [&](const std::string& key_pem, const std::string& chain_pem) {
        const auto channel = open_channel(world.address(), {"cluster.local", cell, {}, ""}, key_pem, chain_pem);
        const auto stub = ca::CertificateAuthority::NewStub(*channel);
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
        ca::SignWorkloadRequest request;
        request.set_csr(*pki::make_csr(stolen->key.get(), kWeb.to_string()));
        ca::WorkloadCertificate answer;
        return stub->SignWorkload(&context, request, &answer);
    };
    EXPECT_EQ(ask(*pki::pem_of(stolen->key.get()), chain).error_code(), grpc::StatusCode::UNAUTHENTICATED);
    EXPECT_EQ(ask("", "").error_code(), grpc::StatusCode::UNAUTHENTICATED) << "no certificate at all";
}

} // namespace
} // namespace weft::identity
