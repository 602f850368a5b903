// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Reads what changed in the folder before every answer, so that a pod that was just written is known.
#include <chrono>
#include <mutex>
#include <set>
#include <tuple>

#include "agent/ca/pod_directory.hpp"
#include "agent/source/manifest_folder.hpp"
#include "agent/store/store.hpp"

namespace weft::ca {
namespace {

// Finds what inotify cannot tell: a folder that went and came back, a network file system.
constexpr std::chrono::seconds kRescan{10};

class ManifestPods final : public PodDirectory {
public:
    explicit ManifestPods(source::ManifestFolder folder) : folder_(std::move(folder)) {}

    Result<> load() { return folder_.load_all(store_); }

    Result<> check(std::string_view node, std::string_view namespace_name, std::string_view service_account) override {
        const std::scoped_lock lock(mutex_);
        WEFT_TRY(refresh());
        if (!scheduled_.contains({std::string(node), std::string(namespace_name), std::string(service_account)})) {
            return failure(EACCES, "no pod of namespace {} with service account {} is scheduled on node {}",
                           namespace_name, service_account, node);
        }
        return {};
    }

private:
    Result<> refresh() {
        const auto now = std::chrono::steady_clock::now();
        const bool scan = now >= next_scan_;
        const auto changed = scan ? folder_.rescan(store_) : folder_.read(store_);
        if (scan) {
            next_scan_ = now + kRescan;
        }
        if (!changed) {
            next_scan_ = now; // a folder that comes back is found by a scan only
            return failure(EAGAIN, "pods cannot be known now: {}", changed.error().message());
        }
        auto snapshot = store_.snapshot();
        if (snapshot == snapshot_) {
            return {};
        }
        snapshot_ = std::move(snapshot);
        scheduled_.clear();
        for (const auto& [name, pod] : *snapshot_->pods) {
            if (!pod->spec.node_name.empty() && !pod->finished()) {
                scheduled_.emplace(pod->spec.node_name, pod->meta.namespace_name, pod->spec.service_account);
            }
        }
        return {};
    }

    std::mutex mutex_; ///< requests come on gRPC's threads; a look-up takes microseconds
    source::ManifestFolder folder_;
    store::Store store_;
    std::shared_ptr<const store::Snapshot> snapshot_;
    std::set<std::tuple<std::string, std::string, std::string>> scheduled_;
    std::chrono::steady_clock::time_point next_scan_ = std::chrono::steady_clock::now() + kRescan;
};

} // namespace

Result<std::unique_ptr<PodDirectory>> open_manifest_pods(const std::string& folder) {
    WEFT_ASSIGN(auto opened, source::ManifestFolder::open(folder));
    auto pods = std::make_unique<ManifestPods>(std::move(opened));
    WEFT_TRY(pods->load());
    return std::unique_ptr<PodDirectory>(std::move(pods));
}

} // namespace weft::ca
