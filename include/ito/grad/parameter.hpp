// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "ito/core/tensor.hpp"

namespace ito {

namespace detail {

/// Values of any types, at most one of each, each made when it is first asked for. Asking from several threads is safe;
/// looking at what exists takes no lock.
class DerivedValues {
  public:
    DerivedValues() = default;
    DerivedValues(const DerivedValues&) = delete;
    DerivedValues& operator=(const DerivedValues&) = delete;
    ~DerivedValues() { clear(); }

    template <class Form, class Make>
    const Form& get(Make&& make) {
        if (const Form* found = find<Form>()) return *found;
        const std::lock_guard lock(making_);
        if (const Form* found = find<Form>()) return *found;
        std::optional<MemoryPool::KeepingScope> keeping;
        if (!renewed_) keeping.emplace();  // in training each update would leave the last form's memory to nobody
        auto node = std::make_unique<Holder<Form>>(make());
        node->next = first_.load(std::memory_order_relaxed);
        const Form& form = node->form;
        first_.store(node.release(), std::memory_order_release);
        return form;
    }

    /// Not beside other calls.
    void clear() noexcept {
        Node* node = first_.exchange(nullptr);
        renewed_ = renewed_ || node;
        while (node) delete std::exchange(node, node->next);
    }

  private:
    struct Node {
        explicit Node(const void* key) : key(key) {}
        virtual ~Node() = default;
        const void* key;
        Node* next = nullptr;
    };
    template <class Form>
    struct Holder final : Node {
        explicit Holder(Form form) : Node(&key_of<Form>), form(std::move(form)) {}
        Form form;
    };
    template <class Form>
    static inline char key_of = 0;  // its address names the type

    template <class Form>
    const Form* find() const {
        for (const Node* node = first_.load(std::memory_order_acquire); node; node = node->next)
            if (node->key == &key_of<Form>) return &static_cast<const Holder<Form>*>(node)->form;
        return nullptr;
    }

    std::atomic<Node*> first_{nullptr};
    std::mutex making_;
    bool renewed_ = false;  // what was derived has been forgotten before
};

}  // namespace detail

/// A tensor that training may change, with what operations derive from it once and use many times: weights packed or
/// transformed for a kernel. Its address is its identity: gradients are looked up by it.
///
/// The tensor is read through `value` and written through change(), assignment or nothing else: those forget what was
/// derived, and the next operation derives anew. So a reference from change() is for writing now; after an operation has
/// used the parameter it takes another change(). A copy is deep and starts with nothing derived. Reading, operations
/// included, is safe from several threads at a time.
template <class T>
class Parameter {
  public:
    Parameter() = default;
    Parameter(Tensor<T> value) : tensor_(std::move(value)) {}
    // Not inline: networks have many, and the compiler writes out how a module is copied, moved and destroyed.
    [[gnu::noinline]] Parameter(const Parameter& other) : tensor_(other.tensor_) {}
    [[gnu::noinline]] Parameter(Parameter&& other) noexcept : tensor_(std::move(other.change())) {}
    [[gnu::noinline]] ~Parameter() {}
    [[gnu::noinline]] Parameter& operator=(const Parameter& other) {
        if (this != &other) change() = other.tensor_;
        return *this;
    }
    [[gnu::noinline]] Parameter& operator=(Parameter&& other) noexcept {
        if (this != &other) change() = std::move(other.change());
        return *this;
    }

    const Tensor<T>& value = tensor_;

    /// The tensor, to be written.
    Tensor<T>& change() noexcept {
        derived_.clear();
        return tensor_;
    }

    /// What make() returns for this value, made once. At most one of each type Form; the type says how it is derived.
    template <class Form, class Make>
    const Form& derived(Make&& make) const {
        return derived_.template get<Form>(std::forward<Make>(make));
    }

  private:
    Tensor<T> tensor_;
    mutable detail::DerivedValues derived_;
};

}  // namespace ito
