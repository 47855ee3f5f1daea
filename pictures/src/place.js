// Where the page is: its address, which everything that is shown follows from.
import { useCallback, useEffect, useState } from 'react';

const here = () => ({ path: location.pathname, query: new URLSearchParams(location.search) });

/** The address, and a way to change it. Links to other pages of ours are followed without loading anew. */
export function usePlace() {
  const [place, setPlace] = useState(here);
  useEffect(() => {
    const update = () => setPlace(here());
    const follow = (event) => {
      const link = event.target.closest?.('a[href]');
      if (!link || !isOurs(link) || isSpecial(event)) return;
      event.preventDefault();
      history.pushState(null, '', withRefresh(link.href));
      scrollTo(0, 0);
      update();
    };
    addEventListener('popstate', update);
    document.addEventListener('click', follow);
    return () => {
      removeEventListener('popstate', update);
      document.removeEventListener('click', follow);
    };
  }, []);
  const go = useCallback((changes) => {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) {
      query.delete(name);
      for (const one of [value ?? []].flat()) query.append(name, one);
    }
    history.pushState(null, '', `${location.pathname}?${query}`);
    setPlace(here());
  }, []);
  return [place, go];
}

/** Whoever looks at what comes in goes on to do so on the next page. */
function withRefresh(href) {
  const url = new URL(href);
  const refresh = new URLSearchParams(location.search).get('refresh');
  if (refresh && !url.searchParams.has('refresh')) url.searchParams.set('refresh', refresh);
  return url;
}

const isOurs = ({ href, target }) =>
  target !== '_blank' && new URL(href).origin === location.origin && /^\/(d|trace)\//.test(new URL(href).pathname);

const isSpecial = ({ button, ctrlKey, metaKey, shiftKey, defaultPrevented }) =>
  button !== 0 || ctrlKey || metaKey || shiftKey || defaultPrevented;
