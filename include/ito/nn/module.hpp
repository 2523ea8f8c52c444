// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "ito/grad/tape.hpp"

// A module is a plain struct that names its parameters and parts once:
//
//     struct Linear {
//         Parameter<T> weight, bias;
//         static void fields(auto& self, auto&& visit) {
//             visit("weight", self.weight);
//             visit("bias", self.bias);
//         }
//     };
//
// Dotted names, loading, saving, counting, initialisation, EMA and optimizer state follow from that. Members of a vector
// are named by their position; an empty optional has no names, and a variant has those of what it holds.
namespace ito::nn {

template <class M>
concept Module = requires(M& m) { std::remove_const_t<M>::fields(m, [](std::string_view, auto&) {}); };

namespace detail {

template <class>
inline constexpr bool is_parameter = false;
template <class T>
inline constexpr bool is_parameter<Parameter<T>> = true;
template <class>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <class>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class>
inline constexpr bool is_variant = false;
template <class... T>
inline constexpr bool is_variant<std::variant<T...>> = true;

[[gnu::noinline]] inline std::string joined(const std::string& prefix, std::string_view name) {
    return prefix.empty() ? std::string(name) : prefix + "." + std::string(name);
}

/// Calls enter(name, part) on every part, outermost first; goes inside while enter returns true. Not inline: the same
/// parts stand in many.
template <class Part, class Enter>
[[gnu::noinline]] void walk(const std::string& name, Part& part, Enter& enter) {
    using Plain = std::remove_const_t<Part>;
    if constexpr (is_vector<Plain>) {
        for (std::size_t i = 0; i < part.size(); ++i) walk(joined(name, std::to_string(i)), part[i], enter);
    } else if constexpr (is_optional<Plain>) {
        if (part) walk(name, *part, enter);
    } else if constexpr (is_variant<Plain>) {
        std::visit([&](auto& held) { walk(name, held, enter); }, part);
    } else {
        if (!enter(name, part)) return;
        if constexpr (!is_parameter<Plain>)
            Plain::fields(part, [&](std::string_view field, auto& member) { walk(joined(name, field), member, enter); });
    }
}

template <class T>
struct NamedParameter {
    std::string name;
    Parameter<T>* parameter;
};

template <class M>
struct ScalarOf {};
template <template <class> class M, std::floating_point T>
struct ScalarOf<M<T>> {
    using type = T;
};

/// The one function that goes through a module's parts: whatever else does would be compiled anew for every part.
template <class M, class T>
std::vector<NamedParameter<T>> parameters(M& module) {
    std::vector<NamedParameter<T>> found;
    auto enter = [&](const std::string& name, auto& part) {
        if constexpr (is_parameter<std::remove_reference_t<decltype(part)>>) found.push_back({name, &part});
        return true;
    };
    walk(std::string(), module, enter);
    return found;
}

}  // namespace detail

/// f(name, parameter) for every parameter, in the order of the fields; names are dotted paths such as
/// "down_blocks.0.resnets.1.conv1.weight". Parameters are const where the module is. Those of a Module<T> are all
/// Parameter<T>.
template <class M, class F>
void for_each_parameter(M& module, F&& f) {
    using Plain = std::remove_const_t<M>;
    if constexpr (requires { typename detail::ScalarOf<Plain>::type; }) {
        using T = typename detail::ScalarOf<Plain>::type;
        using Seen = std::conditional_t<std::is_const_v<M>, const Parameter<T>, Parameter<T>>;
        for (const auto& [name, parameter] : detail::parameters<Plain, T>(const_cast<Plain&>(module))) f(name, static_cast<Seen&>(*parameter));
    } else {
        auto enter = [&](const std::string& name, auto& part) {
            if constexpr (detail::is_parameter<std::remove_cvref_t<decltype(part)>>) f(name, part);
            return true;
        };
        detail::walk(std::string(), module, enter);
    }
}

/// Number of scalars in all parameters.
template <class M>
Index count_parameters(const M& module) {
    Index count = 0;
    for_each_parameter(module, [&](const std::string&, const auto& parameter) { count += parameter.value.size(); });
    return count;
}

}  // namespace ito::nn
