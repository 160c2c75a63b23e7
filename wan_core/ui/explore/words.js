// The sentences of these scripts in the visitor's language: `wanWords`, by the English sentence, comes with the page.
window.wanWord = (english, values = {}) =>
  (window.wanWords?.[english] ?? english).replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
