/* The choice of Both, UI or API in Open WebUI's Admin → Analytics, and what its numbers are.
 *
 * Part of opentelemetry-instrumentation-open-webui; docs/screens.md tells what it does. Nothing of
 * the page is taken away. Where it is not as we know it, nothing happens. */
(() => {
  "use strict";

  const KEY = "analyticsSource";
  const HEADER = "X-Usage-Ledger";
  const ANALYTICS = /\/api\/v1\/analytics\/(summary|models|users|daily|tokens)(?:\?|$)/;
  const USAGE = /\/api\/v1\/users\/usage(?:\?|$)/;
  const SOURCES = ["", "ui", "api"];

  // both, source, what the numbers are, and what they are when the ledger cannot be read.
  const TEXTS = {
    en: ["Both", "Source", "Messages are answers that users asked for, in chats or by API. Token counts are of all calls to models, as providers reported them; where one reported none, they are estimated.", "The usage ledger cannot be read now: these are Open WebUI's own numbers, without the API."],
    cs: ["Obojí", "Zdroj", "Zprávy jsou odpovědi, o které uživatelé požádali v chatech nebo přes API. Počty tokenů zahrnují všechna volání modelů podle hlášení poskytovatelů; kde poskytovatel nic nehlásil, jsou odhadnuty.", "Záznam využití nyní nelze číst: toto jsou vlastní čísla Open WebUI, bez API."],
    da: ["Begge", "Kilde", "Beskeder er svar, som brugere har bedt om, i chats eller via API. Antallet af tokens gælder alle kald til modeller, som udbyderne har rapporteret dem; hvor intet blev rapporteret, er de anslået.", "Forbrugsregnskabet kan ikke læses lige nu: dette er Open WebUI's egne tal, uden API."],
    de: ["Beide", "Quelle", "Nachrichten sind Antworten, die Benutzer verlangt haben, in Chats oder über die API. Token zählen für alle Modellaufrufe, wie die Anbieter sie gemeldet haben; wo einer keine meldet, sind sie geschätzt.", "Das Nutzungsbuch ist gerade nicht lesbar: Dies sind Open WebUIs eigene Zahlen, ohne die API."],
    es: ["Ambas", "Origen", "Los mensajes son respuestas que pidieron los usuarios, en chats o por API. Los tokens son los de todas las llamadas a modelos, tal como los comunicaron los proveedores; si no los comunican, son estimaciones.", "El registro de uso no se puede leer ahora: son las cifras propias de Open WebUI, sin la API."],
    fr: ["Les deux", "Source", "Les messages sont les réponses demandées par les utilisateurs, dans les chats ou par l'API. Les tokens sont ceux de tous les appels aux modèles, tels que déclarés par les fournisseurs, ou estimés à défaut.", "Le registre d'utilisation est illisible pour l'instant : ces chiffres sont ceux d'Open WebUI, sans l'API."],
    it: ["Entrambe", "Origine", "I messaggi sono risposte richieste dagli utenti, nelle chat o tramite API. I token sono quelli di tutte le chiamate ai modelli, come comunicati dai fornitori; se non comunicati, sono stimati.", "Il registro di utilizzo ora non è leggibile: questi sono i numeri di Open WebUI, senza API."],
    ja: ["両方", "利用元", "メッセージは、チャットまたは API でユーザーが求めた回答の数です。トークン数はモデルへのすべての呼び出しについてプロバイダーが報告した値で、報告がない場合は推定値です。", "利用台帳を現在読み取れません。これは API を含まない Open WebUI 自身の数値です。"],
    ko: ["모두", "출처", "메시지는 사용자가 채팅이나 API로 요청한 답변입니다. 토큰 수는 모든 모델 호출에 대해 제공자가 보고한 값이며, 보고가 없으면 추정치입니다.", "지금은 사용량 원장을 읽을 수 없습니다. API가 빠진 Open WebUI 자체 수치입니다."],
    nl: ["Beide", "Bron", "Berichten zijn antwoorden waar gebruikers om vroegen, in chats of via de API. Tokens zijn van alle modelaanroepen, zoals de aanbieders ze meldden; waar er geen gemeld werd, zijn ze geschat.", "Het gebruiksregister is nu niet leesbaar: dit zijn de eigen cijfers van Open WebUI, zonder de API."],
    pl: ["Oba", "Źródło", "Wiadomości to odpowiedzi, o które prosili użytkownicy, w czatach lub przez API. Tokeny obejmują wszystkie wywołania modeli, zgodnie z danymi dostawców; gdy dostawca ich nie podaje, są szacowane.", "Rejestru użycia nie można teraz odczytać: to własne liczby Open WebUI, bez API."],
    pt: ["Ambas", "Origem", "As mensagens são respostas pedidas pelos usuários, em chats ou por API. Os tokens são os de todas as chamadas a modelos, como informados pelos provedores; quando não informados, são estimados.", "O registro de uso não pode ser lido agora: estes são os números do próprio Open WebUI, sem a API."],
    ru: ["Все", "Источник", "Сообщения — это ответы, которые пользователи запросили в чатах или через API. Токены учтены по всем вызовам моделей, как их сообщили провайдеры; если провайдер их не сообщил, они оценены.", "Журнал использования сейчас недоступен: это собственные числа Open WebUI, без API."],
    sv: ["Båda", "Källa", "Meddelanden är svar som användare bad om, i chattar eller via API. Token avser alla modellanrop, så som leverantörerna rapporterade dem; där inget rapporterades är de uppskattade.", "Förbrukningsliggaren kan inte läsas just nu: detta är Open WebUI:s egna siffror, utan API."],
    tr: ["Her ikisi", "Kaynak", "Mesajlar, kullanıcıların sohbetlerde veya API ile istediği yanıtlardır. Token sayıları, sağlayıcıların bildirdiği şekliyle tüm model çağrılarına aittir; bildirilmediğinde tahmindir.", "Kullanım defteri şu anda okunamıyor: bunlar Open WebUI'nin API'siz kendi sayılarıdır."],
    uk: ["Усі", "Джерело", "Повідомлення — це відповіді, які користувачі запитали в чатах або через API. Токени враховано за всіма викликами моделей, як їх повідомили провайдери; якщо провайдер їх не повідомив, їх оцінено.", "Журнал використання зараз недоступний: це власні числа Open WebUI, без API."],
    zh: ["全部", "来源", "消息是用户在对话中或通过 API 请求的回答。词元数为所有模型调用的数量，以提供商报告为准；未报告时为估算值。", "暂时无法读取用量账本：这是 Open WebUI 自己的数字，不含 API。"],
    "zh-tw": ["全部", "來源", "訊息是使用者在對話中或透過 API 請求的回答。詞元數為所有模型呼叫的數量，以供應商回報為準；未回報時為估算值。", "目前無法讀取用量帳本：這是 Open WebUI 自己的數字，不含 API。"],
  };

  const texts = () => {
    const language = (document.documentElement.lang || "en").toLowerCase();
    const [both, source, numbers, away] =
      TEXTS[language] || TEXTS[language.split("-")[0]] || TEXTS.en;
    return { both, source, numbers, away };
  };

  const chosen = () => {
    const kept = localStorage.getItem(KEY) || "";
    return SOURCES.includes(kept) ? kept : "";
  };

  // Whether each answer of Analytics came from the ledger.
  const fromLedger = new Map();
  let requests = 0;

  const works = () => ![...fromLedger.values()].includes(false);

  // --- what the page asks for ------------------------------------------------------------------

  const itsFetch = window.fetch;

  const addressOf = (input) => {
    if (typeof input === "string") return input;
    return input instanceof URL ? input.href : "";
  };

  const withSource = (address) => {
    const source = chosen();
    if (!source || /[?&]source=/.test(address)) return address;
    return `${address}${address.includes("?") ? "&" : "?"}source=${source}`;
  };

  window.fetch = function (input, ...rest) {
    let part = null;
    let asked = input;
    try {
      const address = addressOf(input);
      part = ANALYTICS.exec(address);
      if (part) {
        requests += 1;
        asked = withSource(address);
      } else if (USAGE.test(address)) {
        part = [address, "usage"];
      }
    } catch {
      asked = input;
    }
    const answer = itsFetch.call(this, asked, ...rest);
    if (part) answer.then((given) => heard(part[1], given), () => {});
    return answer;
  };

  const heard = (name, answer) => {
    if (!answer.ok) return;
    const ours = answer.headers.has(HEADER);
    if (name === "usage") {
      if (ours) soon(settleUsage);
      return;
    }
    fromLedger.set(name, ours);
    soon(settle);
  };

  // The page draws after it has read an answer; what it draws later, the observer sees.
  const soon = (work) => setTimeout(() => attempt(work), 50);

  const attempt = (work) => {
    try {
      work();
    } catch (error) {
      console.debug("usage ledger:", error);
    }
  };

  // --- Analytics -------------------------------------------------------------------------------

  const has = (select, value) => [...select.options].some((option) => option.value === value);

  const periodSelect = () =>
    [...document.querySelectorAll("select")].find(
      (select) => has(select, "24h") && has(select, "7d") && has(select, "all")
    );

  let ours = null;
  let link = null;
  let observer = null;
  let observed = null;

  const settle = () => {
    const period = periodSelect();
    const page = period?.parentElement?.parentElement?.parentElement;
    if (!page) return;
    place(period);
    describe(lastText(page, (element) => element.querySelector("table")));
    describeTip(page.querySelector(".cursor-help")?.parentElement?._tippy);
    watch(page);
  };

  const place = (period) => {
    if (!ours) ours = made();
    if (ours.nextElementSibling !== period) period.before(ours);
    if (!link) link = linked();
    if (link.nextElementSibling !== ours) ours.before(link);
    const { both, source, away } = texts();
    const wanted = works() ? chosen() : "";
    set(ours, "className", period.className);
    set(ours, "disabled", !works());
    set(ours, "title", works() ? "" : away);
    set(ours.options[0], "text", both);
    set(ours, "value", wanted);
    if (ours.getAttribute("aria-label") !== source) ours.setAttribute("aria-label", source);
  };

  // What is set again is a change for the observer, too.
  const set = (thing, name, value) => {
    if (thing[name] !== value) thing[name] = value;
  };

  const made = () => {
    const select = document.createElement("select");
    SOURCES.forEach((source) => select.add(new Option(source.toUpperCase(), source)));
    select.dataset.usageLedger = "source";
    select.addEventListener("change", () => {
      localStorage.setItem(KEY, select.value);
      attempt(reload);
    });
    return select;
  };

  /* The usage page has the same numbers with their cost, down to single calls. */
  const linked = () => {
    const made = document.createElement("a");
    made.href = "/usage?view=all";
    made.dataset.usageLedger = "page";
    made.dataset.sveltekitReload = "";
    // Where there is little room, the user menu has it, too.
    made.className = "hidden sm:block text-xs underline";
    made.textContent = "/usage";
    return made;
  };

  const watch = (page) => {
    if (observed === page) return;
    observer?.disconnect();
    let waiting = false;
    observer = new MutationObserver(() => {
      if (waiting) return;
      waiting = true;
      setTimeout(() => {
        waiting = false;
        attempt(settle);
      });
    });
    observer.observe(page, { childList: true, subtree: true });
    observed = page;
  };

  // --- asking again ----------------------------------------------------------------------------

  /* The page asks anew when one of its choices changes, and it need not have another value after
   * that. The group is the choice on which nothing else hangs; there is none without groups. */
  const reload = () => {
    const period = periodSelect();
    const before = requests;
    const group = [...period.parentElement.querySelectorAll("select")].find(
      (select) => select !== ours && select !== period
    );
    if (group && group.options.length > 1) turn(group);
    else turnPeriod(period);
    setTimeout(() => {
      if (requests === before) location.reload();
    }, 1000);
  };

  const turn = (select) => {
    const index = select.selectedIndex;
    choose(select, (index + 1) % select.options.length);
    choose(select, index);
  };

  const choose = (select, index) => {
    select.selectedIndex = index;
    select.dispatchEvent(new Event("change", { bubbles: true }));
  };

  /* With the period, the page takes back how finely it draws. */
  const turnPeriod = (period) => {
    const grain = grainSelect()?.value;
    turn(period);
    setTimeout(() => {
      const select = grainSelect();
      const index = [...(select?.options || [])].findIndex((option) => option.value === grain);
      if (index >= 0 && select.selectedIndex !== index) choose(select, index);
    }, 100);
  };

  const grainSelect = () =>
    [...document.querySelectorAll("select")].find(
      (select) => has(select, "daily") && !has(select, "7d")
    );

  // --- what the numbers are --------------------------------------------------------------------

  /* The page's own sentence about its numbers: the last thing on it, and nothing but text. */
  const lastText = (page, comesAfter) => {
    const last = [...page.children].at(-1);
    const before = last?.previousElementSibling;
    return last && !last.childElementCount && before && comesAfter(before) ? last : null;
  };

  const describe = (element) => {
    const text = element?.firstChild;
    if (text?.nodeType !== Node.TEXT_NODE || !text.data.trim()) return;
    const { numbers, away } = texts();
    set(text, "data", works() ? numbers : away);
  };

  /* Before 0.12 the number of tokens says it, too, where the mouse rests on it. */
  const describeTip = (tip) => {
    const text = works() ? texts().numbers : texts().away;
    if (tip && tip.props.content !== text) tip.setContent(text);
  };

  /* Settings → Usage: the sentence below its calendar of seven rows. */
  const settleUsage = (tries = 20) => {
    const calendar = document.querySelector('[style*="repeat(7"]');
    for (let page = calendar; page && page !== document.body; page = page.parentElement) {
      const found = lastText(page, (before) => before.querySelector("*"));
      if (found && found.textContent.trim().length > 20) {
        set(found.firstChild, "data", texts().numbers);
        return;
      }
    }
    if (tries > 0) setTimeout(() => attempt(() => settleUsage(tries - 1)), 100);
  };
})();
