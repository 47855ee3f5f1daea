// Tells through window what a page waits for and what it found, for whoever looks at it by program.

/** A new report; `waiting` is empty when all is drawn. */
export function newReport() {
  const found = (window.__found = { errors: [], empty: [], waiting: ['the dashboard'] });
  return {
    error: (text) => found.errors.push(text),
    empty: (title) => found.empty.push(title),
    expect: (titles) => void (found.waiting = titles),
    finished(title) {
      const index = found.waiting.indexOf(title);
      if (index >= 0) found.waiting.splice(index, 1);
    },
    isBusy: () => found.waiting.length > 0,
    failed(problem) {
      found.errors.push(String(problem.stack ?? problem));
      found.waiting = [];
    },
  };
}
