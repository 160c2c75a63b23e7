// The facts of a clip are folded on a phone, where the clips made before come next; on a wide screen they are open.
window.wanFacts = {
  fold(element) {
    const facts = element.querySelector('details.fold');
    if (facts) facts.open = !matchMedia('(max-width: 768px)').matches;
  },
};
