// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The authority's keys and files: what a certificate looks like, rotation step by step, power cuts, wrong modes.
#include "agent/ca/authority.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include <gtest/gtest.h>

#include "agent/ca/pki/chain.hpp"
#include "agent/ca/pki/durable_file.hpp"
#include "agent/ca/pki/key.hpp"
#include "agent/ca/pki/names.hpp"
#include "tests/unit/ca/world.hpp"
#include "weft/ktls/credentials.hpp"

namespace weft::ca {
namespace {

using pki::LeafKind;
using pki::Purpose;
using test::TemporaryFolder;

constexpr const char* kWeb = "spiffe://cluster.local/ns/shop/sa/web";

Time now() {
    return std::chrono::floor<seconds>(std::chrono::system_clock::now());
}

using Chain = std::vector<OsslPtr<X509>>;

class AuthorityTest : public testing::Test {
protected:
    void make() {
        auto folder = StateFolder::open(path());
        ASSERT_TRUE(folder.has_value()) << folder.error().message();
        folder_.emplace(std::move(*folder));
        auto made = Authority::create(*folder_, "cluster.local", {}, now());
        ASSERT_TRUE(made.has_value()) << made.error().message();
        authority_.emplace(std::move(*made));
    }
    /// As after a restart.
    void reopen() {
        auto found = Authority::open(*folder_);
        ASSERT_TRUE(found.has_value()) << found.error().message();
        authority_.emplace(std::move(*found));
    }
    [[nodiscard]] std::string path() const { return files_.path("ca"); }
    [[nodiscard]] Chain sign(const char* uri = kWeb, LeafKind kind = LeafKind::kWorkload) const {
        const auto key = pki::new_key();
        auto chain = authority_->sign(kind, key->get(), uri, std::chrono::hours(24), now());
        EXPECT_TRUE(chain.has_value()) << chain.error().message();
        return chain ? std::move(*chain) : Chain();
    }
    [[nodiscard]] Chain bundle() const {
        Chain roots;
        for (const auto& root : authority_->roots()) {
            roots.push_back(ktls::share(root.certificate.get()));
        }
        return roots;
    }
    static bool trusted(const Chain& chain, const Chain& roots, Purpose purpose = Purpose::kAny) {
        return pki::verify_chain(chain, roots, purpose, now()).has_value();
    }
    [[nodiscard]] std::string open_error() const {
        const auto found = Authority::open(*folder_);
        return found ? "" : found.error().message();
    }

    TemporaryFolder files_;
    std::optional<StateFolder> folder_;
    std::optional<Authority> authority_;
};

TEST_F(AuthorityTest, WorkloadCertificatesHaveTheFixedForm) {
    make();
    const auto chain = sign();
    X509* const leaf = chain.front().get();
    EXPECT_EQ(X509_NAME_entry_count(X509_get_subject_name(leaf)), 0);
    EXPECT_EQ(pki::uris_of(leaf), std::vector<std::string>{kWeb});
    EXPECT_EQ(X509_get_key_usage(leaf), static_cast<std::uint32_t>(KU_DIGITAL_SIGNATURE));
    EXPECT_TRUE(pki::has_usage(leaf, "serverAuth") && pki::has_usage(leaf, "clientAuth"));
    EXPECT_FALSE(pki::has_usage(leaf, pki::kNodeUsage));
    EXPECT_EQ(X509_check_ca(leaf), 0);
    EXPECT_EQ(ktls::serial_of(leaf).size(), 32U) << "128 bits";
    const auto life = *pki::validity_of(leaf);
    EXPECT_EQ(life.to - life.from, std::chrono::hours(24) + kBackdate);
    EXPECT_TRUE(trusted(chain, bundle(), Purpose::kClient));
    EXPECT_TRUE(trusted(chain, bundle(), Purpose::kServer));
    std::set<std::string> serials;
    for (int i = 0; i < 50; ++i) {
        serials.insert(ktls::serial_of(sign().front().get()));
    }
    EXPECT_EQ(serials.size(), 50U);
}

TEST_F(AuthorityTest, NodeAndServerCertificatesAreNoWorkloads) {
    make();
    const auto node = sign("spiffe://cluster.local/node/n1", LeafKind::kNode);
    EXPECT_TRUE(trusted(node, bundle(), Purpose::kClient));
    EXPECT_FALSE(trusted(node, bundle(), Purpose::kServer)) << "nobody dials a node's certificate";
    EXPECT_FALSE(ktls::spiffe_id_of(node.front().get()).has_value()) << "a handshake refuses it as client too";
    const auto server = sign("spiffe://cluster.local/weft-ca", LeafKind::kServer);
    EXPECT_FALSE(trusted(server, bundle(), Purpose::kClient));
    EXPECT_FALSE(ktls::spiffe_id_of(server.front().get()).has_value());
}

TEST_F(AuthorityTest, IntermediateIsBoundToItsTrustDomain) {
    make();
    EXPECT_FALSE(trusted(sign("spiffe://bank.example/ns/shop/sa/web"), bundle()))
        << "what a stolen intermediate signs for another domain is refused by every verifier";
    EXPECT_FALSE(trusted(sign("spiffe://evil.cluster.local/ns/shop/sa/web"), bundle()));
}

TEST_F(AuthorityTest, CertificatesDoNotOutliveTheirSigner) {
    make();
    const auto key = pki::new_key();
    const auto chain = authority_->sign(LeafKind::kWorkload, key->get(), kWeb, std::chrono::days(5000), now());
    EXPECT_EQ(pki::validity_of(chain->front().get())->to,
              pki::validity_of(authority_->intermediate().certificate.get())->to);
    EXPECT_EQ(authority_->sign(LeafKind::kWorkload, key->get(), kWeb, seconds(60), now() + std::chrono::days(400))
                  .error()
                  .code(),
              EKEYEXPIRED);
}

TEST_F(AuthorityTest, RestartKeepsEverything) {
    make();
    const auto chain = sign();
    const auto roots = bundle();
    reopen();
    EXPECT_TRUE(trusted(chain, bundle()));
    EXPECT_TRUE(trusted(sign(), roots));
}

TEST_F(AuthorityTest, RootRotationOverlapsAtEachStep) {
    make();
    const auto old_leaf = sign();
    const auto old_bundle = bundle();
    ASSERT_TRUE(authority_->publish_next(*folder_, now()).has_value());
    EXPECT_FALSE(authority_->publish_next(*folder_, now()).has_value()) << "one rotation at a time";
    const auto both = bundle();
    ASSERT_EQ(both.size(), 2U);
    EXPECT_TRUE(trusted(sign(), old_bundle)) << "the old root signs until the switch";
    reopen();
    ASSERT_TRUE(authority_->switch_signing(*folder_, now()).has_value());
    const auto new_leaf = sign();
    EXPECT_TRUE(trusted(new_leaf, both));
    EXPECT_TRUE(trusted(old_leaf, both));
    EXPECT_FALSE(trusted(new_leaf, old_bundle)) << "so nodes must have both before the switch";
    reopen();
    EXPECT_TRUE(trusted(sign(), both));
    ASSERT_TRUE(authority_->retire(*folder_).has_value());
    const auto new_bundle = bundle();
    ASSERT_EQ(new_bundle.size(), 1U);
    EXPECT_TRUE(trusted(new_leaf, new_bundle));
    EXPECT_FALSE(trusted(old_leaf, new_bundle));
    reopen();
    EXPECT_FALSE(authority_->retire(*folder_).has_value());
    EXPECT_FALSE(std::filesystem::exists(folder_->file("root-1.key"))) << "the old key is gone";
    EXPECT_EQ(authority_->version(), 4U);
}

TEST_F(AuthorityTest, IntermediateRotatesBelowTheSameRoot) {
    make();
    const auto before = sign();
    const auto roots = bundle();
    ASSERT_TRUE(authority_->renew_intermediate(*folder_, now()).has_value());
    EXPECT_TRUE(trusted(before, roots));
    EXPECT_TRUE(trusted(sign(), roots));
    EXPECT_NE(ktls::serial_of(before[1].get()), ktls::serial_of(sign()[1].get()));
}

TEST_F(AuthorityTest, FilesAndFolderBelongToTheOwnerOnly) {
    make();
    struct stat found{};
    for (const auto& entry : std::filesystem::directory_iterator(path())) {
        ASSERT_EQ(::stat(entry.path().c_str(), &found), 0);
        const auto expected = entry.path().extension() == ".crt" ? 0644U : 0600U;
        EXPECT_EQ(found.st_mode & 07777, expected) << entry.path();
    }
    ASSERT_EQ(::stat(path().c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 07777, 0700U);
}

TEST_F(AuthorityTest, RefusesWrongModesAndDamage) {
    make();
    const auto key = folder_->file("intermediate-2.key");
    ASSERT_EQ(::chmod(key.c_str(), 0640), 0);
    EXPECT_NE(open_error().find("intermediate-2.key has mode 0640"), std::string::npos) << open_error();
    EXPECT_NE(open_error().find("chmod 600"), std::string::npos);
    ASSERT_EQ(::chmod(key.c_str(), 0600), 0);
    EXPECT_EQ(open_error(), "");
    std::filesystem::copy_file(folder_->file("root-1.key"), key, std::filesystem::copy_options::overwrite_existing);
    EXPECT_NE(open_error().find("this key is not the certificate's"), std::string::npos) << open_error();
    std::filesystem::remove(key);
    EXPECT_NE(open_error().find("open " + key), std::string::npos) << open_error();
    folder_.reset();
    ASSERT_EQ(::chmod(path().c_str(), 0755), 0);
    const auto folder = StateFolder::open(path());
    ASSERT_FALSE(folder.has_value());
    EXPECT_NE(folder.error().message().find("chmod 700"), std::string::npos) << folder.error().message();
}

TEST_F(AuthorityTest, OneProcessAtATime) {
    make();
    EXPECT_EQ(StateFolder::open(path()).error().code(), EBUSY);
}

TEST_F(AuthorityTest, ImportsWhatCanSignAndRefusesTheRest) {
    make();
    const auto text = [&](const char* name) { return *pki::read_private(folder_->file(name), pki::Access::kWorld); };
    const Imported whole{text("root-1.crt"), text("root-1.key"), "", ""};
    const Imported offline{text("root-1.crt"), "", text("intermediate-2.crt"), text("intermediate-2.key")};
    const auto import = [&](const std::string& name, const std::string& domain, const Imported& what) {
        auto folder = StateFolder::open(files_.path(name));
        return Authority::create(*folder, domain, {}, now(), what);
    };
    EXPECT_TRUE(import("a", "cluster.local", whole).has_value());
    const auto without_root_key = import("b", "cluster.local", offline);
    ASSERT_TRUE(without_root_key.has_value()) << without_root_key.error().message();
    EXPECT_TRUE(trusted(*without_root_key->sign(LeafKind::kWorkload, pki::new_key()->get(), kWeb, seconds(60), now()),
                        bundle()));
    EXPECT_NE(import("c", "other.example", offline).error().message().find("permitted subtree"), std::string::npos);
    auto mixed = offline;
    mixed.intermediate_key = whole.root_key;
    EXPECT_NE(import("d", "cluster.local", mixed).error().message().find("not the certificate's"), std::string::npos);
    auto leaf = offline;
    leaf.intermediate_certificate = *pki::pem_of(sign().front().get());
    EXPECT_NE(import("e", "cluster.local", leaf).error().message().find("may not sign"), std::string::npos);
}

TEST_F(AuthorityTest, KilledAtAnyMomentOfARotationItOpensInOneOfBothStates) {
    make();
    folder_.reset(); // the children take the lock
    authority_.reset();
    for (int round = 0; round < 40; ++round) {
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            while (true) { // until killed
                auto folder = StateFolder::open(path());
                auto authority = folder ? Authority::open(*folder) : std::unexpected(folder.error());
                if (!authority) {
                    std::fprintf(stderr, "child: %s\n", authority.error().message().c_str());
                    ::_exit(1);
                }
                (void)authority->publish_next(*folder, now());
                (void)authority->switch_signing(*folder, now());
                (void)authority->retire(*folder);
            }
        }
        // Ends early when the child does, which is a failure.
        const UniqueFd watched(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
        pollfd ended{watched.get(), POLLIN, 0};
        const timespec moment{0, 1'000'000 + round * 700'000L};
        (void)::ppoll(&ended, 1, &moment, nullptr);
        ASSERT_EQ(::kill(child, SIGKILL), 0);
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status)) << "the child found a state that it could not open";
        auto folder = StateFolder::open(path());
        ASSERT_TRUE(folder.has_value()) << folder.error().message();
        const auto authority = Authority::open(*folder);
        ASSERT_TRUE(authority.has_value()) << authority.error().message();
        const auto chain = authority->sign(LeafKind::kWorkload, pki::new_key()->get(), kWeb, seconds(60), now());
        ASSERT_TRUE(chain.has_value());
        const std::span<const OsslPtr<X509>> root(&authority->signing_root().certificate, 1);
        EXPECT_TRUE(pki::verify_chain(*chain, root, Purpose::kAny, now()).has_value());
    }
}

} // namespace
} // namespace weft::ca
