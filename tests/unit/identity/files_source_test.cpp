// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// cert-manager's files on a real file system, as they come, change, and are half there.
#include "agent/identity/files_source.hpp"

#include <filesystem>

#include <gtest/gtest.h>

#include "agent/identity/rotator.hpp"
#include "tests/unit/ca/world.hpp"
#include "tests/unit/identity/small_pki.hpp"

namespace weft::identity {
namespace {

namespace fs = std::filesystem;

using ca::test::eventually;
using ca::test::TemporaryFolder;
using test::Material;
using test::SmallPki;

const SpiffeId kWeb{"cluster.local", "shop", "web"};
const SpiffeId kDb{"cluster.local", "shop", "db"};

class FilesSourceTest : public testing::Test {
protected:
    void write(const std::string& folder, const Material& material, const std::string& roots) {
        fs::create_directories(files_.path("certs" + folder));
        files_.write("certs" + folder + "/ca.crt", roots, 0644);
        files_.write("certs" + folder + "/tls.key", material.key_pem());
        files_.write("certs" + folder + "/tls.crt", material.chain_pem(), 0644);
    }
    void start(std::set<SpiffeId> wanted = {kWeb}) {
        auto source = open_files_source(files_.path("certs"));
        ASSERT_TRUE(source.has_value()) << source.error().message();
        KeeperOptions options;
        options.first_pause = std::chrono::milliseconds(10);
        options.longest_pause = std::chrono::milliseconds(50);
        keeper_ = std::make_unique<Keeper>(std::move(*source), nullptr, options);
        keeper_->set_wanted(std::move(wanted));
        rotator_ = std::make_unique<Rotator>(*keeper_);
    }
    std::string serial(const SpiffeId& id = kWeb) {
        const auto got = keeper_->credentials(id);
        return got ? ktls::serial_of((*got)->chain.front().get()) : got.error().message();
    }
    /// The state of kWeb.
    IdentityState state() {
        for (auto& one : keeper_->states()) {
            if (one.id == kWeb) {
                return one;
            }
        }
        return {};
    }
    bool comes_to(const std::string& wanted, const SpiffeId& id = kWeb) {
        const bool came = eventually([&] { return serial(id) == wanted; });
        EXPECT_TRUE(came) << serial(id);
        return came;
    }
    bool fails_with(const std::string& words) {
        const bool failed = eventually([&] { return state().last_error.contains(words); });
        EXPECT_TRUE(failed) << state().last_error;
        return failed;
    }

    SmallPki pki_;
    TemporaryFolder files_;
    std::unique_ptr<Keeper> keeper_;
    std::unique_ptr<Rotator> rotator_;
};

TEST_F(FilesSourceTest, OneFolderOrManyAndNewOnesAreFound) {
    const auto web = pki_.issue(kWeb.to_string());
    const auto db = pki_.issue(kDb.to_string());
    write("/web", web, pki_.root_pem());
    start({kWeb, kDb});
    EXPECT_TRUE(comes_to(web.serial()));
    EXPECT_NE(serial(kDb).find("no tls.crt"), std::string::npos) << serial(kDb);
    write("/db", db, pki_.root_pem());
    EXPECT_TRUE(comes_to(db.serial(), kDb));
    EXPECT_EQ(serial(), web.serial());
}

TEST_F(FilesSourceTest, ReloadsANewPairAndKeepsTheOldOneWhileHalfOfItIsThere) {
    const auto first = pki_.issue(kWeb.to_string());
    const auto second = pki_.issue(kWeb.to_string());
    write("", first, pki_.root_pem());
    start();
    ASSERT_TRUE(comes_to(first.serial()));
    files_.write("certs/tls.crt", second.chain_pem(), 0644);
    EXPECT_TRUE(fails_with("tls.key is not its key"));
    EXPECT_EQ(serial(), first.serial());
    EXPECT_EQ(state().phase, IdentityPhase::kFailing);
    files_.write("certs/tls.key", second.key_pem().substr(0, 60));
    EXPECT_TRUE(fails_with("tls.key: private key"));
    EXPECT_EQ(serial(), first.serial());
    files_.write("certs/tls.key", second.key_pem());
    EXPECT_TRUE(comes_to(second.serial()));
    EXPECT_EQ(state().phase, IdentityPhase::kValid);
}

TEST_F(FilesSourceTest, FollowsTheLinkThatKubernetesSwaps) {
    const auto first = pki_.issue(kWeb.to_string());
    const auto second = pki_.issue(kWeb.to_string());
    write("/..1", first, pki_.root_pem());
    write("/..2", second, pki_.root_pem());
    fs::create_directory_symlink("..1", files_.path("certs/..data"));
    for (const char* name : {"tls.crt", "tls.key", "ca.crt"}) {
        fs::create_symlink(std::string("..data/") + name, files_.path("certs/") + name);
    }
    start();
    ASSERT_TRUE(comes_to(first.serial()));
    fs::create_directory_symlink("..2", files_.path("certs/..data_tmp"));
    fs::rename(files_.path("certs/..data_tmp"), files_.path("certs/..data"));
    EXPECT_TRUE(comes_to(second.serial()));
}

TEST_F(FilesSourceTest, NewRootsAreTakenWithoutANewLeaf) {
    const SmallPki next;
    const auto web = pki_.issue(kWeb.to_string());
    write("", web, pki_.root_pem());
    start();
    ASSERT_TRUE(comes_to(web.serial()));
    files_.write("certs/ca.crt", pki_.root_pem() + next.root_pem(), 0644);
    EXPECT_TRUE(eventually([&] { return (*keeper_->credentials(kWeb))->roots.at("cluster.local").size() == 2; }));
}

TEST_F(FilesSourceTest, RefusesWhatDoesNotFitNamingFileAndField) {
    const SmallPki other;
    const auto web = pki_.issue(kWeb.to_string());
    write("", web, other.root_pem());
    start();
    EXPECT_TRUE(fails_with("tls.crt: does not lead to"));
    write("", pki_.issue("spiffe://bank.example/ns/shop/sa/web"), pki_.root_pem());
    EXPECT_TRUE(fails_with("permitted subtree violation"));
    write("", pki_.issue("https://shop.example/"), pki_.root_pem());
    EXPECT_TRUE(fails_with("tls.crt: subject alternative name"));
    files_.write("certs/ca.crt", "nothing", 0644);
    EXPECT_TRUE(fails_with("ca.crt: there is no certificate"));
    files_.write("certs/ca.crt", std::string((1 << 20) + 1, 'x'), 0644);
    EXPECT_TRUE(fails_with("ca.crt is longer than"));
    EXPECT_EQ(keeper_->credentials(kWeb).error().code(), ENOKEY);
    write("", web, pki_.root_pem());
    EXPECT_TRUE(comes_to(web.serial()));
}

TEST_F(FilesSourceTest, ExpiredAndFutureCertificatesAreRefused) {
    using std::chrono::hours;
    write("", pki_.issue(kWeb.to_string(), hours(-3), hours(-1)), pki_.root_pem());
    start();
    EXPECT_TRUE(fails_with("expired"));
    write("", pki_.issue(kWeb.to_string(), hours(1), hours(3)), pki_.root_pem());
    EXPECT_TRUE(fails_with("not yet valid"));
    EXPECT_TRUE(fails_with("is this node's clock right?"));
    EXPECT_EQ(keeper_->credentials(kWeb).error().code(), ENOKEY);
}

TEST_F(FilesSourceTest, MissingFolderIsAnErrorAtStart) {
    EXPECT_EQ(open_files_source(files_.path("nowhere")).error().code(), ENOENT);
}

} // namespace
} // namespace weft::identity
