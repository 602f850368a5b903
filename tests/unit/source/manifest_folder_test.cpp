// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The manifests folder on a real file system: every way in which files come, change and go.
#include "agent/source/manifest_folder.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace weft::source {
namespace {

namespace fs = std::filesystem;

std::string service(const std::string& name, int port) {
    return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name +
           "}\nspec: {ports: [{port: " + std::to_string(port) + "}]}\n";
}

class ManifestFolderTest : public testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "weft-manifests-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        base_ = name;
        dir_ = base_ / "folder";
        fs::create_directory(dir_);
    }
    void TearDown() override { fs::remove_all(base_); }

    void write(const std::string& name, const std::string& text) const { std::ofstream(dir_ / name) << text; }

    ManifestFolder open() {
        auto folder = ManifestFolder::open(dir_.string());
        EXPECT_TRUE(folder.has_value()) << folder.error().message();
        EXPECT_TRUE(folder->load_all(store_).has_value());
        return std::move(*folder);
    }

    /// Handles events until the descriptor is silent; inotify queues an event before the call that caused it returns.
    bool settle(ManifestFolder& folder) {
        bool changed = false;
        pollfd ready{folder.fd(), POLLIN, 0};
        while (::poll(&ready, 1, 0) == 1) {
            auto result = folder.read(store_);
            if (!result) {
                break;
            }
            changed |= *result;
        }
        return changed;
    }

    std::uint16_t port(const std::string& name) {
        const auto snapshot = store_.snapshot();
        const auto found = snapshot->services->find({"default", name});
        return found == snapshot->services->end() ? std::uint16_t{0} : found->second->ports.at(0).port;
    }

    fs::path base_;
    fs::path dir_;
    store::Store store_;
};

TEST_F(ManifestFolderTest, ReadsManifestsAndSubfoldersAndNothingElse) {
    write("a.yaml", service("a", 1));
    write("b.yml", service("b", 2));
    write("c.json", R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"c"},"spec":{"ports":[{"port":3}]}})");
    write("d.txt", service("d", 4));
    write(".e.yaml", service("e", 5));
    fs::create_directories(dir_ / "sub" / "deeper");
    write("sub/deeper/f.yaml", service("f", 6));
    auto folder = open();
    EXPECT_EQ(port("a"), 1);
    EXPECT_EQ(port("b"), 2);
    EXPECT_EQ(port("c"), 3);
    EXPECT_EQ(port("d"), 0);
    EXPECT_EQ(port("e"), 0);
    EXPECT_EQ(port("f"), 6);
    EXPECT_FALSE(folder.trouble().has_value());
}

TEST_F(ManifestFolderTest, CreatedChangedRenamedDeleted) {
    auto folder = open();
    write("a.yaml", service("a", 1));
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 1);
    write("a.yaml", service("a", 2) + service("b", 3));
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 2);
    EXPECT_EQ(port("b"), 3);
    const auto before = store_.snapshot();
    fs::rename(dir_ / "a.yaml", dir_ / "z.yaml");
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(store_.snapshot(), before) << "the same objects under another file name are no change";
    EXPECT_EQ(store_.files(), std::vector<std::string>{(dir_ / "z.yaml").string()});
    fs::rename(dir_ / "z.yaml", dir_ / "z.yaml.disabled");
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 0);
    fs::rename(dir_ / "z.yaml.disabled", dir_ / "z.yaml");
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 2);
    fs::remove(dir_ / "z.yaml");
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 0);
    EXPECT_TRUE(store_.files().empty());
}

TEST_F(ManifestFolderTest, AtomicReplacementByRename) {
    write("a.yaml", service("a", 1));
    auto folder = open();
    write(".a.yaml.new", service("a", 2));
    fs::rename(dir_ / ".a.yaml.new", dir_ / "a.yaml");
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 2);
}

TEST_F(ManifestFolderTest, DeletedAndWrittenAnewBetweenTwoReads) {
    write("a.yaml", service("a", 1));
    auto folder = open();
    fs::remove(dir_ / "a.yaml");
    write("a.yaml", service("a", 2));
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 2);
}

TEST_F(ManifestFolderTest, HalfWrittenFileKeepsItsLastGoodObjects) {
    write("a.yaml", service("a", 1));
    auto folder = open();
    std::ofstream writer(dir_ / "a.yaml");
    writer << "apiVersion: v1\nkind: Service\nmetadata: {name: a";
    writer.flush();
    EXPECT_FALSE(settle(folder)) << "not read before its writer closes it";
    ASSERT_TRUE(folder.rescan(store_).has_value());
    EXPECT_EQ(port("a"), 1) << "a scan leaves a file that is being written alone";
    EXPECT_TRUE(store_.snapshot()->refusals->empty());
    writer.close();
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 1);
    ASSERT_EQ(store_.snapshot()->refusals->size(), 1U);
    EXPECT_TRUE(store_.snapshot()->refusals->at(0).last_good_in_force);
    write("a.yaml", service("a", 2));
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 2);
    EXPECT_TRUE(store_.snapshot()->refusals->empty());
}

TEST_F(ManifestFolderTest, UnclosedNewFileIsReadWhenItRests) {
    auto folder = open();
    std::ofstream writer(dir_ / "a.yaml");
    writer << service("a", 1);
    writer.flush();
    EXPECT_FALSE(settle(folder));
    ASSERT_TRUE(folder.rescan(store_).has_value()); // sees it for the first time
    EXPECT_EQ(port("a"), 0);
    ASSERT_TRUE(folder.rescan(store_).has_value()); // unchanged since
    EXPECT_EQ(port("a"), 1);
}

TEST_F(ManifestFolderTest, OneChangedFileDoesNotTouchTheOthers) {
    write("a.yaml", service("a", 1));
    write("b.yaml", service("b", 1));
    auto folder = open();
    const auto before = store_.snapshot();
    write("b.yaml", service("b", 2));
    EXPECT_TRUE(settle(folder));
    const auto after = store_.snapshot();
    EXPECT_EQ(before->services->at({"default", "a"}), after->services->at({"default", "a"}));
    EXPECT_NE(before->services->at({"default", "b"}), after->services->at({"default", "b"}));
}

TEST_F(ManifestFolderTest, SubfoldersComeMoveAndGo) {
    auto folder = open();
    fs::create_directories(dir_ / "sub" / "deeper");
    write("sub/deeper/a.yaml", service("a", 1));
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 1);
    fs::rename(dir_ / "sub", dir_ / "moved");
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(store_.files(), std::vector<std::string>{(dir_ / "moved/deeper/a.yaml").string()});
    write("moved/deeper/a.yaml", service("a", 2));
    EXPECT_TRUE(settle(folder)) << "the moved folder is still watched";
    EXPECT_EQ(port("a"), 2);
    fs::remove_all(dir_ / "moved");
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 0);
    fs::create_directory(base_ / "outside");
    std::ofstream(base_ / "outside" / "b.yaml") << service("b", 1);
    fs::rename(base_ / "outside", dir_ / "inside");
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("b"), 1);
}

TEST_F(ManifestFolderTest, ConfigMapLayoutFollowsTheHiddenLink) {
    fs::create_directory(dir_ / "..v1");
    fs::create_directory(dir_ / "..v2");
    write("..v1/a.yaml", service("a", 1));
    write("..v2/a.yaml", service("a", 2));
    fs::create_directory_symlink("..v1", dir_ / "..data");
    fs::create_symlink("..data/a.yaml", dir_ / "a.yaml");
    auto folder = open();
    EXPECT_EQ(port("a"), 1);
    EXPECT_EQ(store_.files().size(), 1U);
    fs::create_directory_symlink("..v2", dir_ / "..data_tmp");
    fs::rename(dir_ / "..data_tmp", dir_ / "..data");
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 2);
}

TEST_F(ManifestFolderTest, LinksAndHardLinksAppearWhole) {
    auto folder = open();
    std::ofstream(base_ / "real") << service("a", 1);
    fs::create_symlink(base_ / "real", dir_ / "a.yaml");
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 1);
    std::ofstream(base_ / "other") << service("b", 2);
    fs::create_hard_link(base_ / "other", dir_ / "b.yaml");
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("b"), 2);
    fs::remove(base_ / "real");
    ASSERT_TRUE(folder.rescan(store_).has_value());
    EXPECT_EQ(port("a"), 1) << "a dangling link is a fault, not a deletion";
    EXPECT_EQ(store_.snapshot()->refusals->size(), 1U);
}

TEST_F(ManifestFolderTest, TwoFilesDefineOneObject) {
    write("b.yaml", service("a", 2));
    auto folder = open();
    write("a.yaml", service("a", 1));
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 1);
    ASSERT_EQ(store_.snapshot()->refusals->size(), 1U);
    fs::remove(dir_ / "a.yaml");
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 2);
}

TEST_F(ManifestFolderTest, FolderThatGoesAwayKeepsItsObjectsAndComesBack) {
    write("a.yaml", service("a", 1));
    auto folder = open();
    const int fd = folder.fd();
    fs::rename(dir_, base_ / "elsewhere");
    EXPECT_FALSE(settle(folder));
    EXPECT_FALSE(folder.rescan(store_).has_value());
    ASSERT_TRUE(folder.trouble().has_value());
    EXPECT_EQ(port("a"), 1);
    fs::create_directory(dir_);
    ASSERT_TRUE(folder.rescan(store_).has_value());
    EXPECT_EQ(port("a"), 1) << "an empty folder that comes back deletes nothing";
    EXPECT_TRUE(folder.trouble().has_value());
    write("b.yaml", service("b", 2));
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("a"), 0);
    EXPECT_EQ(port("b"), 2);
    EXPECT_FALSE(folder.trouble().has_value());
    EXPECT_EQ(folder.fd(), fd);
}

TEST_F(ManifestFolderTest, RemovedTreeKeepsItsObjects) {
    write("a.yaml", service("a", 1));
    auto folder = open();
    fs::remove_all(dir_);
    EXPECT_FALSE(settle(folder));
    EXPECT_EQ(port("a"), 1);
    EXPECT_TRUE(folder.trouble().has_value());
    fs::create_directory(dir_);
    write("a.yaml", service("a", 2));
    ASSERT_TRUE(folder.rescan(store_).has_value());
    EXPECT_EQ(port("a"), 2);
    EXPECT_FALSE(folder.trouble().has_value());
}

TEST_F(ManifestFolderTest, LostEventsLeadToAFullScan) {
    auto folder = open();
    std::ifstream limit_file("/proc/sys/fs/inotify/max_queued_events");
    int limit = 0;
    limit_file >> limit;
    ASSERT_GT(limit, 0);
    if (limit > 100'000) {
        GTEST_SKIP() << "the event queue holds " << limit << " events: too many to overflow in a unit test";
    }
    write("first.yaml", service("first", 1));
    // Alternate between two names: identical events in a row are merged by the kernel.
    for (int round = 0; round <= limit / 4; ++round) {
        for (const char* name : {"x.yaml", "y.yaml"}) {
            const int fd = ::open((dir_ / name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
            ASSERT_GE(fd, 0);
            ::close(fd);
            ASSERT_EQ(::chmod((dir_ / name).c_str(), round % 2 == 0 ? 0600 : 0644), 0);
        }
    }
    write("last.yaml", service("last", 2));
    EXPECT_TRUE(settle(folder));
    EXPECT_EQ(port("first"), 1);
    EXPECT_EQ(port("last"), 2);
}

TEST_F(ManifestFolderTest, MissingFolderSaysSo) {
    const auto folder = ManifestFolder::open((base_ / "missing").string());
    ASSERT_FALSE(folder.has_value());
    EXPECT_EQ(folder.error().code(), ENOENT);
}

TEST_F(ManifestFolderTest, PipeIsNoManifestAndDoesNotBlock) {
    ASSERT_EQ(::mkfifo((dir_ / "pipe.yaml").c_str(), 0600), 0);
    auto folder = open();
    ASSERT_TRUE(folder.rescan(store_).has_value());
    EXPECT_TRUE(store_.snapshot()->services->empty());
}

} // namespace
} // namespace weft::source
