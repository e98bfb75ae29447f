"""Short lists of English words that one common name holds together: closed classes and small sets.

Small letters throughout; contracted words are written as the corpus cuts them ("don't" is one token).
"""

from __future__ import annotations

from collections.abc import Mapping

from saywell.data.words import word_set

_IRREGULAR = """
    awake awoke awoken, bear bore borne, beat beat beaten, become became become, begin began begun, bend
    bent bent, bet bet bet, bind bound bound, bite bit bitten, bleed bled bled, blow blew blown, break broke
    broken, breed bred bred, bring brought brought, build built built, burst burst burst, burn burnt burnt,
    buy bought bought, cast cast cast, catch caught caught, choose chose chosen, cling clung clung, come
    came come, cost cost cost, creep crept crept, cut cut cut, deal dealt dealt, dig dug dug, do did done,
    draw drew drawn, dream dreamt dreamt, drink drank drunk, drive drove driven, eat ate eaten, fall fell
    fallen, feed fed fed, feel felt felt, fight fought fought, find found found, flee fled fled, fling flung
    flung, fly flew flown, forbid forbade forbidden, forget forgot forgotten, forgive forgave forgiven,
    freeze froze frozen, get got got/gotten, give gave given, go went gone, grind ground ground, grow grew
    grown, hang hung hung, have had had, hear heard heard, hide hid hidden, hit hit hit, hold held held,
    hurt hurt hurt, keep kept kept, kneel knelt knelt, know knew known, lay laid laid, lead led led, lean
    leant leant, leap leapt leapt, learn learnt learnt, leave left left, lend lent lent, let let let, lie
    lay lain, light lit lit, lose lost lost, make made made, mean meant meant, meet met met, mistake mistook
    mistaken, overcome overcame overcome, pay paid paid, prove proved proven, put put put, quit quit quit,
    read read read, rid rid rid, ride rode ridden, ring rang rung, rise rose risen, run ran run, say said
    said, see saw seen, seek sought sought, sell sold sold, send sent sent, set set set, sew sewed sewn,
    shake shook shaken, shed shed shed, shine shone shone, shoot shot shot, show showed shown, shrink shrank
    shrunk, shut shut shut, sing sang sung, sink sank sunk, sit sat sat, sleep slept slept, slide slid slid,
    smell smelt smelt, speak spoke spoken, speed sped sped, spend spent spent, spill spilt spilt, spin spun
    spun, spit spat spat, split split split, spoil spoilt spoilt, spread spread spread, spring sprang
    sprung, stand stood stood, steal stole stolen, stick stuck stuck, sting stung stung, stink stank stunk,
    strike struck struck, swear swore sworn, sweep swept swept, swell swelled swollen, swim swam swum, swing
    swung swung, take took taken, teach taught taught, tear tore torn, tell told told, think thought
    thought, throw threw thrown, understand understood understood, upset upset upset, wake woke woken, wear
    wore worn, weave wove woven, weep wept wept, win won won, wind wound wound, withdraw withdrew withdrawn,
    wring wrung wrung, write wrote written
"""
_SETS = """
number-word: numbers in words (like two)
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds
    thousand thousands million millions billion billions trillion dozen dozens zero

weekday: days of the week
    monday tuesday wednesday thursday friday saturday sunday mondays tuesdays wednesdays thursdays fridays
    saturdays sundays

time-unit: units of time (like hours)
    second seconds minute minutes hour hours day days week weeks month months year years decade decades
    century centuries

when: words for when (like yesterday)
    now today tonight yesterday tomorrow ago later earlier soon recently lately already currently
    immediately eventually afterwards beforehand nowadays

how-often: words for how often (like always)
    always never often sometimes usually rarely seldom frequently occasionally constantly regularly
    generally hardly ever again daily weekly monthly yearly

unit: units of measure (like inches)
    inch inches foot feet yard yards mile miles mm cm km millimeter millimeters centimeter centimeters meter
    meters metre metres kilometer kilometers kilometre kilometres gram grams kg kilogram kilograms kilo
    kilos ounce ounces oz lb lbs pound pounds ton tons tonne tonnes liter liters litre litres ml gallon
    gallons pint pints quart quarts acre acres degree degrees watt watts volt volts amp amps mb gb tb mph
    kph hz khz mhz ghz psi

first-person: words of the first person (I, me, my)
    i me my mine myself i'm i've i'd i'll

first-person-plural: words of the first person plural (we, us, our)
    we us our ours ourselves we're we've we'd we'll

second-person: words that address somebody (you, your)
    you your yours yourself yourselves you're you've you'd you'll u ur y'all

he: words for a man or boy (he, him, his)
    he him his himself he'd he'll

she: words for a woman or girl (she, her)
    she her hers herself she'd she'll

it: words for a thing (it, its)
    it its itself it'd it'll

they: words for others (they, them, their)
    they them their theirs themselves they're they've they'd they'll

possessive: words of possession (my, your, their)
    my mine your yours his her hers its our ours their theirs whose

indefinite: words like something or everyone
    something anything everything nothing someone anyone everyone somebody anybody everybody nobody
    somewhere anywhere everywhere nowhere

question-word: question words (who, what, how)
    who whom whose what which when where why how what're who'd who'll how'd where'd

modal: modal verbs (can, should)
    can could may might must shall should will would ought can't cannot couldn't mightn't mustn't shan't
    shouldn't won't wouldn't could've would've should've might've must've

be: forms of be
    be am is are was were been being i'm you're we're they're isn't aren't wasn't weren't ain't

have: forms of have
    have has had having i've you've we've they've haven't hasn't hadn't could've would've should've might've
    must've

do: forms of do
    do does did don't doesn't didn't done doing

condition: words of condition (if, unless, would)
    if unless otherwise whether would wouldn't would've i'd you'd he'd she'd we'd they'd

contrast: words of contrast (but, however)
    but however although though tho yet despite whereas nevertheless nonetheless instead unfortunately
    except rather otherwise

reason: words of reason (because, so, therefore)
    because cause cuz since so therefore thus hence due why reason reasons consequently

intensifier: words that strengthen (very, really, so)
    very really so extremely too quite super incredibly totally absolutely completely highly truly
    especially particularly definitely exceptionally insanely remarkably terribly awfully

hedge: words of doubt (maybe, seems)
    maybe perhaps possibly probably seem seems seemed seemingly apparently likely might guess guessing
    supposedly presumably somewhat kinda sorta fairly roughly almost unsure doubt

absolute: words for all or none (all, every, always)
    all every always everything everyone everybody everywhere whole entire entirely completely totally never
    none nothing nobody nowhere any only

quantifier: words for how many (some, many, few)
    some many few several much most more less fewer enough plenty lots lot bunch couple both all any each
    every half none

preposition: prepositions (in, of, with)
    in of with on at by for from into onto upon about above across after against along among around before
    behind below beneath beside besides between beyond down during inside near off out outside over past per
    through throughout to toward towards under underneath until up via within without

determiner: determiners (a, the, this)
    a an the this that these those each every some any no another either neither both

article: articles (a, an, the)
    a an the

demonstrative: words that point (this, that, these)
    this that these those here there

conjunction: conjunctions (and, or, but)
    and or but nor so yet because although though while if unless since whereas

colour: colours
    red blue green yellow black white brown pink purple orange grey gray gold silver beige turquoise violet
    teal maroon navy tan ivory magenta cyan crimson reddish bluish greenish yellowish

family: family words (like mother)
    mother father mom mum mommy mama dad daddy papa parent parents son sons daughter daughters brother
    brothers sister sisters husband husbands wife wives uncle uncles aunt aunts cousin cousins nephew
    nephews niece nieces grandmother grandfather grandma grandpa granny grandson granddaughter grandchild
    grandchildren grandkids grandparents family families kid kids child children baby babies toddler
    toddlers hubby sibling siblings moms dads mothers fathers grandsons fiance twins

people: words for people (like woman)
    man men woman women boy boys girl girls person persons people guy guys lady ladies gentleman gentlemen
    adult adults teenager teenagers teen teens kid kids child children friend friends neighbor neighbors
    neighbour neighbours stranger strangers human humans

title: titles (like Mr or President)
    mr mrs ms miss dr sir madam prof professor president senator minister judge captain general king queen
    prince princess lord pope saint governor mayor chairman secretary sergeant

body-part: parts of the body
    head hair face eye eyes ear ears nose mouth lip lips tooth teeth tongue chin cheek cheeks neck throat
    shoulder shoulders arm arms elbow elbows wrist wrists hand hands finger fingers thumb thumbs nail nails
    chest breast breasts stomach belly waist hip hips leg legs knee knees ankle ankles foot feet toe toes
    heel heels skin bone bones muscle muscles blood heart brain lung lungs liver kidney kidneys

direction: points of the compass
    north south east west northern southern eastern western northeast northwest southeast southwest

season: seasons
    winter summer autumn springtime wintertime summertime winters summers

polite: polite words (please, thanks, sorry)
    please thanks thank sorry hello hi hey welcome dear goodbye bye congratulations congrats apologies
    apologize apologise

saying: verbs of saying (said, told, asked)
    say says said saying tell tells told telling ask asks asked asking speak speaks spoke speaking talk
    talks talked talking announce announces announced claim claims claimed explain explains explained reply
    replies replied answer answered report reports reported warn warns warned mention mentioned state stated
    shout shouted whisper whispered

thinking: verbs of thinking (think, know, believe)
    think thinks thought thinking know knows knew known knowing believe believes believed believing
    understand understands understood realize realizes realized realise realised guess guessed suppose
    supposed wonder wondered wondering assume assumed remember remembered forget forgot imagine imagined
    expect expected expecting doubt hope hoped hoping

interjection: interjections (like oh, wow)
    oh ah wow ugh hmm hm yeah yep yup nope ouch oops whoa yay yikes huh eh aha gosh gee hooray yuck yum

laughter: sounds of laughter (haha, lol)
    haha hahaha hahahaha ha hehe heh lol lmao rofl

day-part: parts of the day (like morning)
    morning mornings afternoon afternoons evening evenings night nights midnight noon midday dawn dusk
    sunrise sunset overnight nighttime daytime bedtime

country: countries and nationalities (like France, French)
    america american americans usa britain british england english scotland scottish wales welsh ireland irish
    france french germany german germans italy italian italians spain spanish portugal portuguese greece greek
    greeks holland dutch netherlands belgium belgian switzerland swiss austria austrian sweden swedish norway
    norwegian denmark danish finland finnish poland polish russia russian russians ukraine ukrainian china
    chinese japan japanese korea korean india indian indians pakistan pakistani iran iranian iraq iraqi israel
    israeli israelis palestinian palestinians syria syrian egypt egyptian turkish saudi lebanon lebanese
    afghanistan afghan afghans canada canadian canadians mexico mexican mexicans brazil brazilian argentina
    argentine chile cuba cuban colombia venezuela peru australia australian australians zealand nigeria kenya
    sudan somalia african ethiopia vietnam vietnamese thailand thai indonesia indonesian philippines singapore
    malaysia taiwan europe european europeans africa asia asian

wanting: verbs of wanting (want, need, hope)
    want wants wanted wanting need needs needed needing wish wishes wished wishing hope hopes hoped hoping
    desire desires desired prefer prefers preferred wanna gotta
"""


def _verbs(text: str) -> dict[str, tuple[list[str], list[str]]]:
    verbs = [verb.split() for verb in text.split(",")]
    return {base: (past.split("/"), participle.split("/")) for base, past, participle in verbs}


def _sets(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    heads = [block.strip().split("\n", 1) for block in text.split("\n\n")]
    named = [(*head.split(": "), listed) for head, listed in heads]
    return {name: (plural, word_set(listed)) for name, plural, listed in named}


IRREGULAR: Mapping[str, tuple[list[str], list[str]]] = _verbs(_IRREGULAR)
"""Each irregular verb with its past forms and its past participles."""
SETS: Mapping[str, tuple[str, frozenset[str]]] = _sets(_SETS)
"""Each set: its name in the plural, and its words."""

PAST_AUXILIARIES = word_set("was were had did wasn't weren't hadn't didn't")
SUBJECTS = word_set("i you he she it we they")
NEGATIONS = word_set(
    "not no never none nobody nothing nowhere neither nor cannot without ain't dont doesnt didnt cant wont"
)
MONTHS = word_set(
    "january february april june july august september october november december jan feb apr jun jul "
    "aug sep sept oct nov dec"
)
CAPITAL_MONTHS = word_set("march may")
"""Months whose name is another word in small letters."""
ORDINALS = word_set(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth hundredth thousandth"
)
MONEY = word_set("dollar dollars cent cents euro euros bucks usd eur gbp yen rupee rupees")
IRREGULAR_COMPARATIVES = word_set("better worse more less fewer farther further")
IRREGULAR_SUPERLATIVES = word_set("best worst most least farthest furthest foremost")
IRREGULAR_PLURALS = word_set("men women children people feet teeth mice geese oxen")
NOT_ADVERBS = word_set(
    "early family reply supply apply july italy belly jelly ally rally bully holy assembly anomaly monopoly "
    "butterfly friendly lovely lonely ugly silly elderly deadly costly lively curly homely cuddly "
    "bubbly wobbly chilly hilly smelly jolly woolly jiggly wiggly prickly sparkly crumbly wrinkly "
    "multiply comply imply rely kelly emily molly sally billy lily polly melancholy gnarly giggly "
    "frilly unfriendly ghastly ghostly motherly fatherly brotherly sisterly heavenly worldly cowardly "
    "scholarly orderly disorderly dragonfly firefly lilly willy"
)
BETWEEN = word_set(
    "not never also always already just ever even only still all both been being really very so too "
    "quite well almost now then since often"
)
BEFORE_PARTICIPLES = word_set("as than well more most less best better newly")
SURELY_THIRD = word_set(
    "is has does isn't hasn't doesn't agrees allows appears arrives becomes begins believes brings buys "
    "chooses comes contains describes eats expects explains feels forgets gets gives goes grows happens "
    "hears helps includes keeps knows learns lets loses makes provides puts remains requires says seems "
    "sells sends sits speaks spends takes teaches tells thinks understands wears writes"
)
NO_ING = word_set(
    "evening clothing wedding ceiling shilling pudding sterling gelding interesting amazing "
    "entertaining boring including regarding concerning following outstanding surprising disappointing "
    "annoying exciting lacking leading irritating frustrating confusing charming stunning fascinating "
    "touching refreshing convincing misleading inspiring disturbing compelling depressing during"
)
AFTER_NOUNS = word_set("and or of are were have had will can could would should may might who")
NOUNS_AFTER_TO = word_set("school bed church college town market date life music one")
BEFORE_PASTS = word_set(
    "that this those both mine yours his hers ours theirs really so especially absolutely totally"
)
OWN_LEMMA = word_set("left bit rose wound ground bound drunk shot lay bore fell")
"""Past forms that are as often another word."""
OTHER_LEMMAS = {
    "worse": "bad",
    "mixed": "mix",
    "mixes": "mix",
    "mixing": "mix",
    "developed": "develop",
    "greed": "greed",
    "veggies": "veggie",
}
"""Lemmas that the lexicon gets wrong."""
SURELY_PRESENT = word_set(
    "am are i'm you're we're they're i've you've we've they've aren't don't haven't have do ain't"
)
NO_FEELING = word_set("like pretty kind super matter matters")
"""Words with a feeling by the lexicon, and mostly without one in use ("kind of")."""
