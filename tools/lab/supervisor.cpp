// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Commands in, answers out; the work itself is the controller's and the agents'.
#include "tools/lab/supervisor.hpp"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>

#include "agent/k8s/parse.hpp"
#include "tools/lab/agents.hpp"
#include "tools/lab/authority.hpp"
#include "tools/lab/cgroup.hpp"
#include "tools/lab/controller.hpp"
#include "tools/lab/protocol.hpp"
#include "tools/lab/report.hpp"

namespace weft::lab {
namespace {

class Supervisor {
public:
    explicit Supervisor(Names names) : names_(std::move(names)), loop_(8) {}

    Result<> run() {
        sigset_t signals;
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        const UniqueFd terminated(::signalfd(-1, &signals, SFD_CLOEXEC));
        loop_.watch(terminated.get(), [this] { quit(); });
        WEFT_ASSIGN(server_, CommandServer::listen(loop_, names_.socket(),
                                                   [this](const Json& request, const CommandServer::Answer& answer) {
                                                       try {
                                                           handle(request, answer);
                                                       } catch (const nlohmann::json::exception& fault) {
                                                           answer(invalid("request: {}", fault.what()));
                                                       }
                                                   }));
        loop_.run();
        return {};
    }

private:
    void handle(const Json& request, const CommandServer::Answer& answer) {
        const auto op = request.value("op", "");
        if (op == "up") {
            answer(up(request));
        } else if (op == "quit") {
            quit();
            answer(Json::object());
        } else if (!controller_) {
            answer(failure(EAGAIN, "lab '{}' is still coming up", names_.lab()));
        } else if (op == "status") {
            answer(status());
        } else if (op == "apply" || op == "delete") {
            answer(change(request, op == "delete"));
        } else if (op == "scale") {
            answer(scale(request));
        } else if (op == "cordon") {
            answer(cordon(request));
        } else if (op == "agent") {
            answer(agent(request));
        } else if (op == "kill") {
            answer(kill(request));
        } else if (op == "exec") {
            answer(exec(request));
        } else if (op == "external") {
            answer(external(request));
        } else {
            answer(invalid("unknown request '{}': is the lab of another version? `weft lab down` and `up` again", op));
        }
    }

    /// Every object of the request's files. Error: the first refusal (the command has shown them all before).
    static Result<std::vector<k8s::Object>> objects_of(const Json& request) {
        std::vector<k8s::Object> objects;
        for (const auto& file : request.at("files")) {
            auto parsed = k8s::parse_documents(file.at("text").get<std::string>(), file.at("name").get<std::string>());
            for (const auto& refusal : parsed.refusals) {
                return invalid("{}", refusal_text(refusal));
            }
            std::move(parsed.objects.begin(), parsed.objects.end(), std::back_inserter(objects));
        }
        return objects;
    }

    /// What the user wants of weftd beside what the lab wants.
    struct AgentSettings {
        std::vector<std::string> flags;
        bool own_source = false; ///< of certificates
    };
    static Result<AgentSettings> agent_settings(const Json& request) {
        AgentSettings settings;
        for (const auto& setting : request.at("agent")) {
            const auto text = setting.get<std::string>();
            const auto equals = text.find('=');
            if (equals == std::string::npos || equals == 0) {
                return invalid("--agent: '{}' is not KEY=VALUE", text);
            }
            auto key = text.substr(0, equals);
            settings.own_source |= key == "identity_files" || key == "workload_api";
            std::ranges::replace(key, '_', '-');
            settings.flags.push_back("--" + key + text.substr(equals));
        }
        return settings;
    }

    Result<Json> up(const Json& request) {
        const bool mesh = request.at("mesh").get<bool>();
        WEFT_ASSIGN(const auto settings, agent_settings(request));
        WEFT_ASSIGN(const auto mount, cgroup_mount());
        WEFT_ASSIGN(auto cni, CniRunner::make(names_, mesh));
        std::string weftd;
        if (mesh) {
            WEFT_ASSIGN(weftd, find_program("weftd"));
        }
        WEFT_ASSIGN(const auto objects, objects_of(request));
        for (const auto& folder : {names_.manifests(), names_.scratch(), names_.ipam()}) {
            std::error_code error;
            std::filesystem::create_directories(folder, error);
            if (error) {
                return failure(error.value(), "cannot make {}: {}", folder, error.message());
            }
        }
        auto controller = std::make_unique<Controller>(loop_, names_, std::move(cni), mount);
        std::vector<k8s::Node> nodes;
        for (const auto& object : objects) {
            if (const auto* node = std::get_if<k8s::Node>(&object)) {
                nodes.push_back(*node);
            }
        }
        WEFT_TRY(controller->cluster().make_nodes(nodes, request.at("nodes").get<int>()));
        WEFT_TRY(create_wire(names_));
        WEFT_TRY(create_nodes(names_, controller->cluster().wire_nodes()));
        for (const auto& object : objects) {
            WEFT_TRY(controller->cluster().apply(object));
        }
        if (mesh && wants_mutual_tls(objects)) {
            std::vector<AuthorityNode> nodes_on_wire;
            for (const auto& node : controller->cluster().wire_nodes()) {
                nodes_on_wire.push_back({node.name, node.addresses.front().to_string()});
            }
            WEFT_ASSIGN(auto authority, Authority::start(names_, mount, nodes_on_wire, !settings.own_source));
            authority_.emplace(std::move(authority));
            watch_enrolled();
        }
        for (const auto& node : controller->cluster().wire_nodes()) {
            WEFT_TRY(create_cgroup(mount + "/" + names_.host_cgroup(node.name)));
            WEFT_TRY(create_cgroup(mount + "/" + names_.node_cgroup(node.name) + "/kubepods"));
            auto flags = authority_ ? authority_->flags(node.name) : std::vector<std::string>{};
            flags.insert(flags.end(), settings.flags.begin(), settings.flags.end());
            auto agent = std::make_unique<Agent>(loop_, names_, node.name, weftd, mount, std::move(flags));
            WEFT_TRY(agent->start());
            agents_[node.name] = std::move(agent);
        }
        mesh_ = mesh;
        controller_ = std::move(controller);
        await_agents(Loop::Clock::now() + std::chrono::seconds(20));
        return Json::object();
    }

    /// Does anything in the manifests ask for the mesh?
    static bool wants_mutual_tls(const std::vector<k8s::Object>& objects) {
        return std::ranges::any_of(objects, [](const k8s::Object& object) {
            if (std::holds_alternative<k8s::MeshTls>(object) || std::holds_alternative<k8s::MeshConfig>(object)) {
                return true;
            }
            const auto* deployment = std::get_if<k8s::Deployment>(&object);
            return k8s::meta_of(object).labels.contains("weft.dev/mesh") ||
                   (deployment != nullptr && deployment->template_meta.labels.contains("weft.dev/mesh"));
        });
    }

    /// What the API server would do: nodes say which of their pods are enrolled, and everybody sees it on the Pod.
    void watch_enrolled() {
        loop_.after(std::chrono::milliseconds(50), [this] {
            std::set<std::string> enrolled;
            for (const auto& [name, agent] : agents_) {
                std::ifstream file(names_.agent_run_dir(name) + "/enrolled.json");
                const auto told = Json::parse(file, nullptr, false);
                auto& uids = enrolled_at_[name];
                if (!told.is_discarded() && told.contains("pods")) { // else what it said last: nothing is withdrawn so
                    uids.clear();
                    for (const auto& pod : told["pods"]) {
                        uids.insert(pod.value("uid", ""));
                    }
                }
                enrolled.insert(uids.begin(), uids.end());
            }
            if (controller_) {
                controller_->set_enrolled(std::move(enrolled));
            }
            watch_enrolled();
        });
    }

    /// Pods start when the agents answer, so that the first CNI ADD need not be repeated; or after a while anyway,
    /// because then the pods' own messages say what is wrong.
    void await_agents(Loop::Clock::time_point deadline) {
        bool answering = true;
        for (const auto& [name, agent] : agents_) {
            answering = answering && agent->answers();
        }
        if (answering || Loop::Clock::now() > deadline) {
            controller_->touch();
        } else {
            loop_.after(std::chrono::milliseconds(20), [this, deadline] { await_agents(deadline); });
        }
    }

    Result<Json> change(const Json& request, bool removing) {
        WEFT_ASSIGN(const auto objects, objects_of(request));
        Json lines = Json::array();
        for (const auto& object : objects) {
            const auto key = k8s::key_of(object);
            if (removing) {
                lines.push_back(fmt::format("{} {}", key.to_string(),
                                            controller_->cluster().remove(key) ? "deleted" : "was not there"));
                continue;
            }
            WEFT_ASSIGN(const auto change, controller_->cluster().apply(object));
            using Change = Cluster::Change;
            lines.push_back(fmt::format("{} {}", key.to_string(),
                                        change == Change::kCreated      ? "created"
                                        : change == Change::kConfigured ? "configured"
                                                                        : "unchanged"));
        }
        WEFT_TRY(controller_->reconcile());
        controller_->refresh_names();
        return Json{{"lines", lines}};
    }

    Result<Json> scale(const Json& request) {
        WEFT_TRY(controller_->cluster().scale(
            {request.at("namespace").get<std::string>(), request.at("name").get<std::string>()},
            request.at("replicas").get<int>()));
        WEFT_TRY(controller_->reconcile());
        return Json::object();
    }

    Result<Json> cordon(const Json& request) {
        WEFT_TRY(controller_->cluster().cordon(request.at("node").get<std::string>(), request.at("on").get<bool>()));
        WEFT_TRY(controller_->reconcile());
        return Json::object();
    }

    Result<Json> agent(const Json& request) {
        const auto node = request.at("node").get<std::string>();
        const auto found = agents_.find(node);
        if (found == agents_.end()) {
            return failure(ENOENT, "there is no node '{}' (`weft lab status` lists them)", node);
        }
        if (!mesh_) {
            return failure(EINVAL, "this lab runs without the mesh: there is no agent");
        }
        if (request.at("run").get<bool>()) {
            WEFT_TRY(found->second->start());
        } else {
            WEFT_TRY(found->second->kill());
        }
        return Json::object();
    }

    Result<PodRunner*> pod_of(const Json& request) {
        const store::Name name{request.at("namespace").get<std::string>(), request.at("name").get<std::string>()};
        if (auto* runner = controller_->find(name)) {
            return runner;
        }
        return failure(ENOENT, "there is no pod {}/{} (`weft lab status` lists them)", name.first, name.second);
    }

    Result<Json> kill(const Json& request) {
        WEFT_ASSIGN(auto* runner, pod_of(request));
        WEFT_TRY(runner->kill_container());
        return Json::object();
    }

    Result<Json> exec(const Json& request) {
        if (request.contains("node")) {
            const auto node = request.at("node").get<std::string>();
            if (controller_->cluster().wire_node(node) == nullptr) {
                return failure(ENOENT, "there is no node '{}' (`weft lab status` lists them)", node);
            }
            WEFT_ASSIGN(const auto cgroup, cgroup_path(names_.host_cgroup(node)));
            return Json{{"netns", netns_path(names_.node_netns(node))}, {"cgroup", cgroup}};
        }
        WEFT_ASSIGN(const auto* runner, pod_of(request));
        const auto pod = runner->published();
        if (pod.ips.empty()) {
            return failure(EAGAIN, "pod {}/{} is not wired yet: {}", pod.meta.namespace_name, pod.meta.name,
                           runner->message());
        }
        return Json{
            {"netns", runner->netns()},      {"cgroup", runner->cgroup()},
            {"hosts", runner->hosts_path()}, {"tmp", runner->tmp_path()},
            {"hostname", pod.meta.name},     {"env", container_process(pod, controller_->cluster().services()).env}};
    }

    Result<Json> external(const Json& request) {
        WEFT_ASSIGN(const auto ip, Ip::parse(request.at("ip").get<std::string>()));
        WEFT_ASSIGN(const auto netns, controller_->ensure_external(ip));
        WEFT_ASSIGN(const auto cgroup, cgroup_path(names_.external_cgroup("ip", ip.to_string())));
        WEFT_TRY(create_cgroup(cgroup));
        return Json{{"netns", netns}, {"cgroup", cgroup}};
    }

    Result<Json> status() {
        auto answer = report(names_, *controller_, mesh_);
        for (auto& node : answer["nodes"]) {
            const auto& agent = *agents_.at(node["name"].get<std::string>());
            node["agent"] = agent.state();
            node["agentPid"] = agent.pid();
            node["agentRestarts"] = agent.restarts();
            node["agentReady"] = agent.answers();
        }
        return answer;
    }

    /// Ends every process but this one and reaps them, so that none is left for init.
    void quit() {
        if (const auto mount = cgroup_mount(); mount && controller_) {
            for (const auto& node : controller_->cluster().wire_nodes()) {
                (void)kill_cgroup(*mount + "/" + names_.node_cgroup(node.name)); // cleanup by name reports what stays
            }
            (void)kill_cgroup(*mount + "/" + names_.cgroup() + "/external");
            (void)kill_cgroup(*mount + "/" + names_.authority_cgroup());
            while (::waitpid(-1, nullptr, 0) > 0) { // all were killed, so this is short
            }
        }
        loop_.stop();
    }

    Names names_;
    Loop loop_;
    std::unique_ptr<CommandServer> server_;
    std::optional<Authority> authority_;
    std::map<std::string, std::unique_ptr<Agent>> agents_;
    std::map<std::string, std::set<std::string>> enrolled_at_; ///< uids of pods, by node
    std::unique_ptr<Controller> controller_;
    bool mesh_ = true;
};

} // namespace

Result<> supervise(const Names& names) {
    // Blocked before any thread is made, so that they arrive at the descriptor; children unblock them.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    (void)::signal(SIGPIPE, SIG_IGN);
    if (::chdir("/") != 0) {
        return system_failure("cannot change to /");
    }
    return Supervisor(names).run();
}

} // namespace weft::lab
