// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Brings the pods in line with what the user asked for, and publishes the cluster's objects as files for the agents.
// Thread: loop.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "tools/lab/cluster.hpp"
#include "tools/lab/pod_runner.hpp"

namespace weft::lab {

class Controller {
public:
    /// `mesh`: whether pods get weft-cni.
    Controller(Loop& loop, const Names& names, CniRunner cni, std::string cgroup_mount);

    [[nodiscard]] Cluster& cluster() { return cluster_; }
    [[nodiscard]] const Cluster& cluster() const { return cluster_; }
    [[nodiscard]] const std::map<store::Name, std::unique_ptr<PodRunner>>& pods() const { return pods_; }
    /// Pods that no node takes, with the reason.
    [[nodiscard]] const std::map<store::Name, std::string>& unplaced() const { return unplaced_; }

    /// Something was applied, removed, scaled or changed by itself: soon, once, compare and act.
    void touch();
    /// The same at once: when it returns, the objects are published and the pods' starts and stops are under way.
    Result<> reconcile();

    /// Pods, by uid, that their nodes' agents call enrolled: published as an annotation.
    void set_enrolled(std::set<std::string> uids) {
        if (uids != enrolled_) {
            enrolled_ = std::move(uids);
            touch();
        }
    }

    /// Every pod's /etc/hosts says what the Services are now.
    void refresh_names();

    /// Makes a host outside the cluster with this address that belongs to no Pod; fine when it exists.
    /// Returns the path of its network namespace.
    Result<std::string> ensure_external(const Ip& ip);

    /// The runner of a pod; nullptr when there is none.
    [[nodiscard]] PodRunner* find(const store::Name& pod) const;

private:
    struct Outside {
        std::vector<Ip> addresses = {};
        bool plugged_in = false; ///< false: its pod is about to start
    };

    void stop_unwanted(const std::map<store::Name, k8s::Pod>& wanted);
    void start_missing(const std::map<store::Name, k8s::Pod>& wanted);
    [[nodiscard]] std::vector<k8s::Pod> existing() const;
    void publish();
    /// Both under mutex_.
    Result<> plug_in(const std::string& netns, const std::vector<Ip>& addresses);
    Result<> route(const store::Name& pod, const Stray& stray, bool add);
    void write(const std::map<std::string, std::string>& files);
    Result<std::vector<Ip>> attach(const k8s::Pod& pod, const CniPod& cni);
    Result<> detach(const k8s::Pod& pod, const CniPod& cni);

    Loop& loop_;
    Names names_;
    CniRunner cni_;
    Cluster cluster_;
    std::shared_ptr<PodHost> host_;
    std::map<store::Name, std::unique_ptr<PodRunner>> pods_;
    std::map<store::Name, k8s::Pod> asked_; ///< each running pod as its manifest asked for it, to see changes
    std::map<store::Name, std::string> unplaced_;
    std::map<store::Name, std::vector<Ip>> headless_; ///< ready addresses behind headless Services
    std::map<std::string, std::string> files_;        ///< what is in the manifests folder
    std::set<std::string> enrolled_; ///< uids: a new pod of the same name is another one
    std::string publish_fault_;
    bool touched_ = false;

    // Under mutex_: cables are plugged in by worker threads, and every outside host must reach every pod.
    std::mutex mutex_;
    std::map<std::string, Outside> outside_; ///< by namespace name
    std::map<store::Name, Stray> strays_;    ///< pods with addresses outside their node's blocks
    int next_cable_ = 1;
};

} // namespace weft::lab
